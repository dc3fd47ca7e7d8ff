/** The client over a WebSocket that the test plays, in a time that the test makes pass. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { Herald, HeraldError } from '../../herald.js';
import { FakeSocket, client, connected, jwt, pass, seconds, settled } from './fakes.mjs';

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_800_000_000_000 }));
afterEach(() => mock.timers.reset());

const push = (offset, more = {}) => ({ message: { id: `m${offset}`, from: 'bob', to: { group: 'g' }, body: offset, time: 1, offset: `e.0:${offset}`, ...more } });

test('the token goes into the first frame and not into the URL', async () => {
  const { socket } = await connected({ url: 'https://push.example/ws?x=1', device: 'phone', token: 'a-token' });
  assert.equal(socket.url, 'wss://push.example/ws');
  assert.deepEqual(socket.protocols, ['herald.v1.json']);
  assert.deepEqual(socket.sent[0].connect, { token: 'a-token', device: 'phone' });
});

test('the base may be named in any way', async () => {
  const bases = { 'http://h:1': 'ws://h:1/ws', 'ws://h/ws': 'ws://h/ws', 'https://h/push/': 'wss://h/push/ws', 'https://h/push': 'wss://h/push/ws', 'https://h/herald.js': 'wss://h/ws', 'https://h/news': 'wss://h/news/ws', 'https://h/news/ws': 'wss://h/news/ws' };
  for (const [url, wanted] of Object.entries(bases)) {
    const { socket, herald } = await connected({ url });
    assert.equal(socket.url, wanted, url);
    herald.close();
  }
});

test('what is missing is said at once', () => {
  assert.throws(() => new Herald({ url: 'http://h' }), /token/);
  assert.throws(() => new Herald({ token: 'x' }), /url/);
});

test('a connection that is lost is resumed by its last cursor, and nothing is told twice', async () => {
  const { socket, of, herald } = await connected();
  socket.says(push(2)).says(push(3)).says({ cursor: 'e@0:3' }).says(push(4)).end(4000);
  await pass(500);
  assert.deepEqual(FakeSocket.last.sent, []);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].connect.cursor, 'e@0:3');
  FakeSocket.last.welcome({ cursor: 'e@0:3', resumed: true }).says(push(4)).says(push(5)).says(push(5));
  assert.deepEqual(of('message').map(({ body }) => body), [2, 3, 4, 5]);
  assert.deepEqual(of('gap'), []);
  herald.close();
});

test('the waits grow while nothing answers, and a good connection ends that', async () => {
  const { socket, of, herald } = await connected();
  await pass(6000); // it stood
  socket.end(1006);
  for (let i = 0; i < 4; i++) {
    await pass(of('state').findLast(({ state }) => state === 'waiting').delay);
    FakeSocket.last.end(4005);
  }
  const waits = () => of('state').filter(({ state }) => state === 'waiting').map(({ delay }) => delay);
  assert.deepEqual(waits(), [500, 1000, 2000, 4000, 8000]);
  await pass(8000);
  FakeSocket.last.welcome({ resumed: true });
  FakeSocket.last.end(4005); // welcomed, and thrown out at once: still no good one
  assert.equal(waits().at(-1), 16_000);
  await pass(16_000);
  FakeSocket.last.welcome({ resumed: true });
  await pass(6000);
  FakeSocket.last.end(4000);
  assert.equal(waits().at(-1), 500);
  herald.close();
});

test('41xx ends the client, and says why', async () => {
  const { socket, of, herald } = await connected();
  const waiting = herald.send({ user: 'bob' }, 1);
  socket.end(4102, 'kicked');
  await assert.rejects(waiting, { code: 'kicked', closeCode: 4102 });
  assert.equal(herald.state, 'closed');
  assert.equal(of('closed')[0].code, 'kicked');
  await pass(120_000);
  assert.equal(FakeSocket.made.length, 1);
  await assert.rejects(herald.connect(), { code: 'closed' });
  await assert.rejects(herald.send({ user: 'bob' }, 1), { code: 'closed' });
});

test('a send whose connection is lost is sent again under its key', async () => {
  const { socket, herald } = await connected();
  const sent = herald.send({ user: 'bob' }, { text: 'hello' });
  const { key } = socket.command('send').send;
  assert.match(key, /^[0-9a-f]{32}$/);
  socket.end(1006);
  await pass(500);
  FakeSocket.last.welcome({ resumed: true });
  const again = FakeSocket.last.command('send');
  assert.equal(again.send.key, key);
  FakeSocket.last.says({ id: again.id, sent: { duplicate: true } });
  assert.deepEqual(await sent, { duplicate: true });
  herald.close();
});

test('sends of one target wait for one another, others do not', async () => {
  const { socket, herald } = await connected();
  const answers = [];
  for (const n of [1, 2, 3]) herald.send({ group: 'g' }, n).then(() => answers.push(n), () => {});
  herald.send({ user: 'bob' }, 'b').catch(() => {});
  const bodies = () => socket.commands('send').map(({ send }) => send.body);
  assert.deepEqual(bodies(), [1, 'b']);
  const answer = (frame) => socket.says({ id: socket.commands('send').findLast(({ send }) => send.to.group).id, ...frame });
  answer({ error: { code: 'unavailable', message: 'm', retry: true, after_ms: 500 } });
  await pass(900);
  assert.deepEqual(bodies(), [1, 'b'], 'after_ms and the wait are kept');
  await pass(200);
  assert.deepEqual(bodies(), [1, 'b', 1], 'the second does not pass the first');
  for (let i = 0; i < 3; i++) answer({ sent: {} });
  await settled();
  assert.deepEqual(bodies(), [1, 'b', 1, 2, 3]);
  assert.deepEqual(answers, [1, 2, 3]);
  herald.close();
});

test('an error that will not get better is told, and the next one goes on', async () => {
  const { socket, herald } = await connected();
  const first = herald.send({ group: 'g' }, 1);
  const second = herald.send({ group: 'g' }, 2);
  socket.says({ id: socket.command('send').id, error: { code: 'forbidden', message: 'not a member of g', retry: false } });
  await assert.rejects(first, (error) => error instanceof HeraldError && error.code === 'forbidden' && !error.retry && /member/.test(error.message));
  socket.says({ id: socket.command('send').id, sent: { id: 'x' } });
  assert.deepEqual(await second, { id: 'x' });
  herald.close();
});

test('what was tried for two minutes with no known outcome is given up: the server knows keys for little longer', async () => {
  const { socket, herald } = await connected();
  const sent = herald.send({ user: 'bob' }, 1);
  let outcome;
  sent.catch((error) => (outcome = error));
  const begun = Date.now();
  let asked = 0;
  while (!outcome && Date.now() - begun < 300_000) {
    const command = socket.command('send');
    if (command.id && socket.commands('send').length > asked) {
      asked = socket.commands('send').length;
      socket.says({ id: command.id, error: { code: 'timeout', message: 'no answer', retry: true } });
    }
    await pass(1000);
  }
  assert.equal(outcome.code, 'timeout');
  assert.ok(outcome.retry);
  assert.ok(Date.now() - begun >= 120_000 && Date.now() - begun < 150_000, `${Date.now() - begun} ms`);
  herald.close();
});

test('calls and live messages are never repeated', async () => {
  const { socket, herald } = await connected();
  const call = herald.call('shop', 'buy', 1);
  const live = herald.send({ user: 'bob' }, 1, { durable: false });
  socket.end(1006);
  await assert.rejects(call, { code: 'unavailable', retry: true });
  await assert.rejects(live, { code: 'unavailable' });
  await assert.rejects(herald.send({ user: 'bob' }, 1, { durable: false }), { code: 'disconnected' });
  await pass(500);
  FakeSocket.last.welcome();
  assert.equal(FakeSocket.last.sent.length, 1);
  herald.close();
});

test('a limited rate slows everything down for as long as the server says', async () => {
  const { socket, herald } = await connected();
  for (const user of ['a', 'b']) herald.send({ user }, 1).catch(() => {});
  const [first] = socket.commands('send');
  socket.says({ id: first.id, error: { code: 'rate_limited', message: 'm', retry: true, after_ms: 3000 } });
  herald.send({ user: 'c' }, 1).catch(() => {});
  await pass(2750);
  assert.equal(socket.commands('send').length, 2);
  await pass(500);
  assert.deepEqual(socket.commands('send').map(({ send }) => send.to.user), ['a', 'b', 'a', 'c']);
  herald.close();
});

test('what waits is bounded, and so is what is under way', async () => {
  const { socket, herald } = await connected({ maxQueue: 100 });
  for (let i = 0; i < 100; i++) herald.send({ user: `u${i}` }, i).catch(() => {});
  await assert.rejects(herald.send({ user: 'x' }, 1), { code: 'queue_full', retry: true });
  assert.equal(socket.commands('send').length, 32);
  socket.says({ id: socket.command('send').id, sent: {} });
  assert.equal(socket.commands('send').length, 33);
  assert.equal(herald.unanswered, 99);
  herald.close();
});

test('a signal and a timeout give up one command, and the next of its lane goes on', async () => {
  const { socket, herald } = await connected();
  const abort = new AbortController();
  const first = herald.send({ group: 'g' }, 1, { signal: abort.signal });
  const second = herald.send({ group: 'g' }, 2, { timeout: 1000 });
  abort.abort();
  await assert.rejects(first, { name: 'AbortError' });
  assert.equal(socket.commands('send').length, 2);
  pass(1250);
  await assert.rejects(second, { code: 'timeout' });
  await assert.rejects(herald.presence(['x'], { signal: abort.signal }), { name: 'AbortError' });
  assert.equal(herald.unanswered, 0);
  herald.close();
});

test('a token is renewed before its end, on the same connection', async () => {
  const asked = [];
  const token = ({ reason }) => {
    asked.push(reason);
    return jwt({ exp: seconds() + 100, n: asked.length });
  };
  const { socket, herald } = await connected({ token }, { expires: seconds() + 100 });
  await pass(59_000);
  assert.deepEqual(asked, ['connect']);
  await pass(2000);
  assert.deepEqual(asked, ['connect', 'renew']);
  socket.says({ id: socket.command('refresh').id, refreshed: { expires: seconds() + 100 } });
  await settled();
  assert.equal(socket.commands('refresh').length, 1);
  await pass(65_000);
  assert.equal(socket.commands('refresh').length, 2);
  assert.equal(FakeSocket.made.length, 1);
  herald.close();
});

test('a token that has ended is fetched anew before the next try, one that is refused twice is the end', async () => {
  let n = 0;
  const { socket, herald, of } = await connected({ token: () => `token-${++n}` });
  socket.end(4002);
  await pass(250);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].connect.token, 'token-2');
  FakeSocket.last.welcome().end(1006);
  await pass(1000);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].connect.token, 'token-2', 'one that is good is not fetched again');
  FakeSocket.last.end(4100);
  await pass(2000);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].connect.token, 'token-3');
  FakeSocket.last.end(4100, 'unauthorized');
  assert.equal(of('closed')[0].code, 'unauthorized');
  assert.equal(herald.state, 'closed');
});

test('a token that cannot be fetched now is fetched later; one that is refused for good ends the client', async () => {
  let fails = 2;
  const { herald, of } = client({
    token: () => {
      if (fails-- > 0) throw new Error('no network');
      return 'x';
    },
  });
  const ready = herald.connect();
  await pass(2000);
  assert.equal(of('error').length, 2);
  FakeSocket.last.welcome();
  assert.equal((await ready).user, 'alice');
  herald.close();
  const other = client({ token: () => Promise.reject(new HeraldError('unauthorized', 'logged out')) });
  await assert.rejects(other.herald.connect(), { code: 'unauthorized', message: 'logged out' });
  assert.equal(other.herald.state, 'closed');
});

test('a gap is told, and what was seen before it counts no more', async () => {
  const { socket, of, herald } = await connected();
  socket.says(push(9)).says({ notice: { code: 'gap', message: 'm' } }).says(push(3));
  assert.deepEqual(of('message').map(({ body }) => body), [9, 3]);
  assert.equal(of('gap').length, 1);
  socket.end(4005);
  await pass(1000);
  FakeSocket.last.welcome({ resumed: false, gap: true, cursor: 'f@0:1' }).says(push(1));
  assert.equal(of('gap').length, 2);
  assert.equal(of('message').length, 3);
  assert.equal(herald.cursor, 'f@0:1');
  herald.close();
});

test('a cursor that the server does not understand is forgotten, which is a gap', async () => {
  const { of, herald } = client({ cursor: 'nonsense' });
  herald.connect();
  await settled();
  FakeSocket.last.open().says({ id: 1, error: { code: 'bad_request', message: 'malformed cursor', retry: false } }).end(4104);
  await pass(250);
  FakeSocket.last.welcome();
  assert.equal(FakeSocket.last.sent[0].connect.cursor, undefined);
  assert.equal(of('gap').length, 1);
  assert.equal(herald.state, 'connected');
  herald.close();
});

test('who asks for all that is kept gets it before what comes, across a lost connection', async () => {
  const { socket, of, herald } = await connected({ since: 'start' }, { cursor: 'e@0:9' });
  const inbox = (offset) => push(offset, { to: { user: 'alice' } });
  assert.deepEqual(socket.command('history').history, { of: { user: true }, limit: 1000 });
  socket.says(inbox(10)).says(push(11)); // the inbox waits, a group does not
  assert.deepEqual(of('message').map(({ body }) => body), [11]);
  const page = (...offsets) => offsets.map((offset) => inbox(offset).message);
  socket.says({ id: socket.command('history').id, history: { messages: page(8, 10), more: true, gap: false } });
  await settled();
  assert.equal(socket.command('history').history.before, 'e.0:8');
  socket.end(1006);
  await pass(500);
  FakeSocket.last.welcome({ resumed: true, cursor: 'e@0:9' });
  assert.equal(FakeSocket.last.sent[0].connect.cursor, 'e@0:9', 'groups are gone on with');
  FakeSocket.last.says(inbox(10)).says(push(11)).says(inbox(12));
  FakeSocket.last.says({ id: FakeSocket.last.command('history').id, history: { messages: page(2, 5), more: false, gap: false } });
  await settled();
  assert.deepEqual(of('message').map(({ body }) => body), [11, 2, 5, 8, 10, 12]);
  FakeSocket.last.says(inbox(13));
  assert.equal(of('message').at(-1).body, 13);
  herald.close();
});

test('whom one watches is watched again, and told of where it stands', async () => {
  const { socket, of, herald } = await connected();
  const watching = herald.watch(['bob', 'carol']);
  socket.says({ id: socket.command('watch').id, watching: { users: { bob: { online: true }, carol: { online: false } } } });
  assert.equal((await watching).users.bob.online, true);
  socket.says({ presence: { user: 'bob', online: false } }).end(1006);
  await pass(500);
  FakeSocket.last.welcome();
  assert.deepEqual(FakeSocket.last.command('watch').watch.users, ['bob', 'carol']);
  FakeSocket.last.says({ id: FakeSocket.last.command('watch').id, watching: { users: { bob: { online: true } } } });
  assert.deepEqual(of('presence').map(({ user, online }) => [user, online]), [['bob', true], ['carol', false], ['bob', false], ['bob', true]]);
  herald.close();
});

test('groups are those of the connection, and what comes and goes', async () => {
  const { socket, herald } = await connected({}, { groups: ['a'] });
  const joined = herald.join('b');
  socket.says({ id: socket.command('join').id, joined: { group: 'b' } });
  assert.deepEqual(await joined, { group: 'b' });
  socket.says({ group: { group: 'c', joined: true } }).says({ group: { group: 'a', joined: false } });
  assert.deepEqual([...herald.groups], ['b', 'c']);
  herald.close();
});

test('a silent connection is asked, and given up if it does not answer', async () => {
  const { socket, herald } = await connected();
  await pass(24_000);
  assert.equal(socket.commands('ping').length, 0);
  await pass(7000);
  assert.equal(socket.commands('ping').length, 1);
  await pass(120_000);
  assert.equal(herald.state, 'connected');
  socket.answersPings = false;
  await pass(45_000);
  assert.equal(socket.closed, 1000);
  assert.ok(FakeSocket.made.length > 1);
  herald.close();
});

test('after a sleep the connection is doubted at once', async (t) => {
  const { socket, herald } = await connected();
  socket.answersPings = false;
  const { now } = Date;
  Date.now = () => now() + 3_600_000; // no timer ran meanwhile
  t.after(() => (Date.now = now));
  await pass(5000);
  assert.equal(socket.commands('ping').length, 1);
  await pass(4000);
  assert.equal(socket.closed, 1000);
  herald.close();
});

test('a server that does not welcome is given up', async () => {
  const { herald, of } = client({ transport: 'websocket' });
  herald.connect();
  await settled();
  FakeSocket.last.open();
  await pass(15_000);
  assert.equal(of('state').at(-1).state, 'waiting');
  herald.close();
});

test('the cursor is saved, now and then and at the end, and loaded before the first connect', async () => {
  const saved = [];
  const storage = { load: async () => ({ cursor: 'e@0:7', seen: [['gg', 'e.0', 8]] }), save: (state) => saved.push(state) };
  const { herald, of } = client({ storage });
  herald.connect();
  await pass(250);
  FakeSocket.last.welcome({ resumed: true, cursor: 'e@0:7' }).says(push(8)).says(push(9)).says(push(10));
  assert.deepEqual(FakeSocket.last.sent[0].connect.cursor, 'e@0:7');
  assert.deepEqual(of('message').map(({ body }) => body), [9, 10]);
  await pass(1000);
  assert.equal(saved.length, 1);
  FakeSocket.last.says({ cursor: 'e@0:10' });
  herald.close();
  assert.deepEqual(saved.at(-1), { cursor: 'e@0:10', seen: [['gg', 'e.0', 10]] });
});

test('disconnect keeps everything for connect', async () => {
  const { socket, herald } = await connected();
  herald.disconnect();
  assert.equal(socket.closed, 1000);
  const sent = herald.send({ user: 'bob' }, 1);
  await pass(60_000);
  assert.equal(FakeSocket.made.length, 1);
  herald.connect();
  await settled();
  FakeSocket.last.welcome({ resumed: true }).says({ id: FakeSocket.last.command('send').id, sent: { id: 'x' } });
  assert.equal(FakeSocket.last.sent[0].connect.cursor, 'e@0:1');
  assert.deepEqual(await sent, { id: 'x' });
  herald.close();
});

test('a signal closes the client, and nothing is left behind', async () => {
  const abort = new AbortController();
  const { socket, herald, of } = await connected({ signal: abort.signal });
  abort.abort();
  assert.equal(socket.closed, 1000);
  assert.deepEqual(of('closed'), [undefined]);
  await pass(120_000);
  assert.equal(FakeSocket.made.length, 1);
  assert.equal(herald.state, 'closed');
});

test('a frame that is too large is the fault of its command alone', async () => {
  const { socket, herald } = await connected();
  const small = herald.send({ user: 'a' }, 'x');
  const large = herald.send({ user: 'b' }, 'x'.repeat(100_000));
  socket.end(1009);
  await assert.rejects(large, { code: 'too_large' });
  await pass(500);
  FakeSocket.last.welcome({ resumed: true });
  assert.deepEqual(FakeSocket.last.commands('send').map(({ send }) => send.to.user), ['a']);
  FakeSocket.last.says({ id: FakeSocket.last.command('send').id, sent: {} });
  await small;
  herald.close();
});

test('bytes come as bytes, and a late answer is no push', async () => {
  const { socket, of, herald } = await connected();
  socket.says(push(2, { body: undefined, body_base64: 'AP8=', content_type: 'application/x' }));
  assert.deepEqual([...of('message')[0].body], [0, 255]);
  socket.says({ id: 4_000_000, presence: { users: {} } });
  assert.deepEqual(of('presence'), []);
  socket.onmessage({ data: 'no JSON' });
  assert.equal(herald.state, 'connected');
  herald.close();
});

test('a handler that is taken away or whose signal has ended hears no more', async () => {
  const { socket, herald } = await connected();
  const heard = [];
  const abort = new AbortController();
  const off = herald.on('message', ({ body }) => heard.push(['off', body]));
  herald.on('message', ({ body }) => heard.push(['signal', body]), { signal: abort.signal });
  socket.says(push(2));
  off();
  socket.says(push(3));
  abort.abort();
  socket.says(push(4));
  assert.deepEqual(heard, [['off', 2], ['signal', 2], ['signal', 3]]);
  herald.close();
});

test('bytes are sent as bytes, and come back as such', async () => {
  const { socket, of, herald } = await connected();
  const bytes = new Uint8Array([0, 255, 1, 2]);
  for (const [content, base64] of [[bytes, 'AP8BAg=='], [bytes.buffer, 'AP8BAg=='], [bytes.subarray(1, 3), '/wE='], [new Uint8Array(0), '']]) {
    herald.send({ user: 'bob' }, content, { contentType: 'image/png', durable: false }).catch(() => {});
    const { send } = socket.sent.at(-1);
    assert.deepEqual([send.body, send.body_base64, send.content_type], [undefined, base64, 'image/png']);
  }
  herald.call('lobby', 'roll', bytes).catch(() => {});
  assert.equal(socket.command('call').call.body_base64, 'AP8BAg==');
  socket.says(push(2, { body: undefined, body_base64: 'AP8BAg==', content_type: 'image/png' }));
  assert.deepEqual(of('message')[0].body, bytes);
  herald.close();
});

test('whom to watch may come from anything that gives names once', async () => {
  const { socket, herald } = await connected();
  herald.watch(new Set(['bob', 'carol']).values()).catch(() => {});
  assert.deepEqual(socket.command('watch').watch.users, ['bob', 'carol']);
  herald.unwatch(['bob'].values()).catch(() => {});
  assert.deepEqual(socket.command('unwatch').unwatch.users, ['bob']);
  herald.close();
});
