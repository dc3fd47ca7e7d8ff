/** The client over Server-Sent Events that the test writes. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { FakeSocket, client, pass, seconds, settled } from './fakes.mjs';

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_800_000_000_000 }));
afterEach(() => mock.timers.reset());

/** A server of which each stream is kept, and each command answered by the test. */
function server() {
  const streams = [];
  const commands = [];
  const answers = [];
  const fetch = async (href, { method, headers, body, signal }) => {
    const url = new URL(href);
    if (method === 'POST') {
      const command = JSON.parse(body);
      commands.push({ ...command, authorization: headers.Authorization });
      const { status = 200, said } = answers.shift()?.(command) ?? { said: { id: command.id, sent: { id: 'x' } } };
      return new Response(typeof said === 'string' ? said : JSON.stringify(said), { status });
    }
    const stream = { url, authorization: headers.Authorization };
    streams.push(stream);
    const refused = answers.refuse?.();
    if (refused) return new Response(refused.text ?? '', { status: refused.status, headers: refused.headers });
    const readable = new ReadableStream({
      start(controller) {
        signal.addEventListener('abort', () => {
          stream.gone = true;
          controller.error(signal.reason);
        });
        stream.write = (text) => controller.enqueue(new TextEncoder().encode(text));
        stream.says = (name, data) => stream.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
        stream.end = () => controller.close();
      },
    });
    return new Response(readable, { status: 200 });
  };
  return { fetch, streams, commands, answers };
}

const WELCOME = { user: 'alice', connection: 'c', node: 'n', groups: [], cursor: 'e@0:1', resumed: true, gap: false, ping: 25 };

async function connected(options) {
  const served = server();
  const made = client({ WebSocket: undefined, fetch: served.fetch, ...options });
  made.herald.connect();
  await settled();
  served.streams[0].says('connected', { connected: { ...WELCOME, expires: seconds() + 3600, time: Date.now() } });
  await pass(250);
  assert.equal(made.herald.state, 'connected');
  return { ...served, ...made };
}

test('the token is a header, and what is told goes the same ways', async () => {
  const { herald, streams, commands, of } = await connected({ token: 'a-token', device: 'tab' });
  assert.equal(streams[0].url.href, 'http://push.example/events?device=tab');
  assert.equal(streams[0].authorization, 'Bearer a-token');
  streams[0].says('message', { message: { id: '1', to: { user: 'alice' }, body: 7, offset: 'e.0:2' } });
  assert.deepEqual(await herald.send({ user: 'bob' }, 1), { id: 'x' });
  assert.equal(commands[0].authorization, 'Bearer a-token');
  assert.equal(of('message')[0].body, 7);
  herald.close();
  assert.ok(streams[0].gone);
});

test('a timer that is late makes nobody doubt a stream that is heard', async (t) => {
  const { herald, streams } = await connected();
  const { now } = Date;
  let late = 0;
  Date.now = () => now() + late;
  t.after(() => (Date.now = now));
  for (let minute = 1; minute <= 3; minute++) {
    late = minute * 60_000;
    streams[0].write(': ping\n');
    await settled();
    await pass(5000);
  }
  assert.equal(streams.length, 1);
  late += 3_600_000; // and nothing was heard
  await pass(5000);
  assert.equal(streams.length, 2);
  herald.close();
});

test('a silent stream is given up', async () => {
  const { herald, streams } = await connected();
  await pass(30_000);
  streams[0].write(': ping\n');
  await pass(30_000);
  assert.equal(streams.length, 1);
  await pass(10_000);
  assert.ok(streams[0].gone);
  herald.close();
});

test('the last event says why it ends', async () => {
  const { herald, streams, of } = await connected();
  streams[0].says('closed', { code: 4102, reason: 'kicked' });
  streams[0].end();
  await pass(250);
  assert.equal(of('closed')[0].code, 'kicked');
  assert.equal(herald.state, 'closed');
});

test('a stream that is refused for now is tried when the server says', async () => {
  const served = server();
  served.answers.refuse = () => ({ status: 503, headers: { 'Retry-After': '7' }, text: 'busy' });
  const { herald, of } = client({ WebSocket: undefined, fetch: served.fetch });
  herald.connect();
  await pass(250);
  const { delay } = of('state').at(-1);
  assert.ok(delay >= 7000 && delay <= 7500, String(delay));
  await pass(7000);
  assert.equal(served.streams.length, 1);
  await pass(750);
  assert.equal(served.streams.length, 2);
  herald.close();
});

test('a command whose token has ended is repeated with a new one, on a new stream', async () => {
  let n = 0;
  const { herald, streams, commands, answers } = await connected({ token: () => `token-${++n}` });
  answers.push(({ id }) => ({ status: 401, said: { id, error: { code: 'unauthorized', message: 'm', retry: false } } }));
  const sent = herald.send({ user: 'bob' }, 1, { key: 'k' });
  await pass(500);
  assert.equal(streams.length, 2);
  streams[1].says('connected', { connected: { ...WELCOME, expires: seconds() + 3600, time: Date.now() } });
  await pass(250);
  assert.deepEqual(await sent, { id: 'x' });
  assert.ok(commands.every(({ send }) => send.key === 'k'));
  const [first, ...others] = commands.map(({ authorization }) => authorization);
  assert.equal(first, 'Bearer token-1');
  assert.deepEqual([...new Set(others)], ['Bearer token-2']);
  herald.close();
});

test('what a proxy says in place of a gateway is tried again', async () => {
  const { herald, commands, answers } = await connected();
  answers.push(() => ({ status: 502, said: '<html>bad gateway</html>' }));
  answers.push(() => ({ status: 200, said: '<html>log in to this network</html>' }));
  const sent = herald.send({ user: 'bob' }, 1);
  await pass(2000);
  assert.deepEqual(await sent, { id: 'x' });
  assert.equal(new Set(commands.map(({ send }) => send.key)).size, 1);
  assert.equal(commands.length, 3);
  herald.close();
});

test('whom one watches stands in the URL of the stream', async () => {
  const { herald, streams, answers } = await connected();
  answers.push(({ id, presence }) => ({ said: { id, presence: { users: { [presence.users[0]]: { online: true } } } } }));
  assert.deepEqual(await herald.watch(['bob']), { users: { bob: { online: true } } });
  await pass(250);
  assert.deepEqual(streams.at(-1).url.searchParams.getAll('watch'), ['bob']);
  assert.equal(streams.at(-1).url.searchParams.get('cursor'), 'e@0:1');
  herald.close();
});

test('where there are no events either, WebSockets are tried again', async () => {
  for (const status of [404, 405, 502]) {
    const served = server();
    served.answers.refuse = () => ({ status, text: 'a proxy' });
    const { herald } = client({ WebSocket: FakeSocket, fetch: served.fetch });
    herald.connect();
    await settled();
    for (let i = 0; i < 2; i++) {
      FakeSocket.last.end(1006);
      await pass(1000);
    }
    assert.equal(served.streams.length, 1, String(status));
    const before = FakeSocket.made.length;
    await pass(4000);
    assert.ok(FakeSocket.made.length > before, `${status}: a WebSocket again`);
    FakeSocket.last.welcome();
    assert.equal(herald.transport, 'websocket');
    herald.close();
  }
});
