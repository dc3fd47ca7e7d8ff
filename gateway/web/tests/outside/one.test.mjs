/** The client against one real gateway, over each transport. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TRANSPORTS, api, cable, client, forwarder, tokenOf, until } from './world.mjs';

for (const transport of TRANSPORTS) {
  const name = (user) => `${user}-${transport}`;
  const range = (n) => Array.from({ length: n }, (_, i) => i);

  test(`${transport}: users, groups and everybody, in order`, async (t) => {
    const alice = client(t, name('alice'), { transport });
    const bob = client(t, name('bob'), { transport });
    const connected = await alice.herald.connect();
    assert.equal(connected.user, name('alice'));
    assert.equal(alice.herald.transport, transport);
    await bob.herald.connect();
    const group = name('group');
    await Promise.all([alice, bob].map(({ herald }) => herald.join(group)));
    const sent = await Promise.all(range(50).map((i) => alice.herald.send({ group }, i)));
    assert.equal(new Set(sent.map(({ id }) => id)).size, 50);
    for (const { bodies } of [alice, bob]) await until('all fifty', () => bodies().length === 50);
    for (const { bodies } of [alice, bob]) assert.deepEqual(bodies(), range(50));
    const direct = await alice.herald.send({ user: name('bob') }, { text: 'hello' }, { kind: 'chat', copy: true });
    assert.equal(direct.online, true);
    for (const { events } of [alice, bob]) {
      await until('the message and its copy', () => events.message.length === 51);
      const { from, to, body, kind } = events.message[50];
      assert.deepEqual({ from, to, body, kind }, { from: name('alice'), to: { user: name('bob') }, body: { text: 'hello' }, kind: 'chat' });
    }
    await alice.herald.send({ user: name('bob') }, 'live', { durable: false });
    await until('the live one', () => bob.bodies()[51] === 'live');
    await assert.rejects(alice.herald.send({ user: '' }, 1), { code: 'bad_request', retry: false });
  });

  test(`${transport}: one key is one message`, async (t) => {
    const { herald, bodies } = client(t, name('keyed'), { transport });
    await herald.connect();
    const first = await herald.send({ user: name('keyed') }, 1, { key: 'k' });
    const again = await herald.send({ user: name('keyed') }, 1, { key: 'k' });
    assert.deepEqual([first.duplicate, again.duplicate, again.offset], [false, true, first.offset]);
    await herald.send({ user: name('keyed') }, 2);
    await until('both', () => bodies().length === 2);
    assert.deepEqual(bodies(), [1, 2]);
  });

  test(`${transport}: history, page by page in both directions`, async (t) => {
    const { herald } = client(t, name('historian'), { transport });
    await herald.connect();
    const group = name('old');
    await herald.join(group);
    const sent = [];
    for (const i of range(25)) sent.push(await herald.send({ group }, i));
    const read = async (options) => {
      const found = [];
      for await (const { body } of herald.messages({ group }, { limit: 10, ...options })) found.push(body);
      return found;
    };
    assert.deepEqual(await read({}), range(25).reverse());
    assert.deepEqual(await read({ after: sent[4].offset }), range(25).slice(5));
    assert.deepEqual(await read({ before: sent[4].offset }), range(4).reverse());
    const page = await herald.history({ group }, { limit: 3 });
    assert.deepEqual([page.messages.map(({ body }) => body), page.more, page.gap], [[22, 23, 24], true, false]);
  });

  test(`${transport}: presence, and those who are watched`, async (t) => {
    const watcher = client(t, name('watcher'), { transport });
    const seen = () => watcher.events.presence.filter(({ user }) => user === name('seen')).map(({ online }) => online).at(-1);
    await watcher.herald.connect();
    const { users } = await watcher.herald.watch([name('seen')]);
    assert.equal(users[name('seen')].online, false);
    const other = client(t, name('seen'), { transport });
    await other.herald.connect();
    await until('online', () => seen() === true);
    assert.equal((await watcher.herald.presence([name('seen')])).users[name('seen')].online, true);
    other.herald.close();
    await until('offline', () => seen() === false);
  });

  test(`${transport}: a call is answered, and its refusal told`, async (t) => {
    const { herald } = client(t, name('caller'), { transport });
    await herald.connect();
    assert.deepEqual(await herald.call('echo', 'x', { question: ['ö', 1] }), { question: ['ö', 1] });
    await assert.rejects(herald.call('nobody', 'x', 1), { code: 'not_found' });
  });

  test(`${transport}: who is kicked stays away, and is told`, async (t) => {
    const { herald, events } = client(t, name('kicked'), { transport });
    await herald.connect();
    const group = client(t, name('other'), { transport });
    await group.herald.connect();
    await api('DELETE', `users/${name('kicked')}/connections`);
    await until('the end', () => events.closed.length === 1);
    assert.deepEqual([events.closed[0].code, events.closed[0].closeCode, herald.state], ['kicked', 4102, 'closed']);
    assert.equal(group.herald.state, 'connected');
    assert.deepEqual((await api('GET', `users/${name('kicked')}`)).connections, []);
  });

  test(`${transport}: tokens of a few seconds carry a conversation of many`, async (t) => {
    const why = [];
    const user = name('renewer');
    const token = ({ reason }) => {
      why.push(reason);
      return tokenOf(user, 4);
    };
    const { herald, bodies, events } = client(t, user, { transport, token });
    const { connection } = await herald.connect();
    const sender = client(t, name('sender'), { transport });
    await sender.herald.connect();
    const until_ = Date.now() + 10_000;
    let sent = 0;
    while (Date.now() < until_) {
      await sender.herald.send({ user }, sent++);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await until('everything', () => bodies().length === sent);
    assert.deepEqual(bodies(), range(sent));
    assert.ok(why.filter((reason) => reason === 'renew').length >= 2, why.join());
    assert.deepEqual(events.error, []);
    // A WebSocket takes the new token as it is; a stream is opened anew with it.
    if (transport === 'websocket') assert.equal(herald.connection.connection, connection);
  });

  test(`${transport}: a token that ends unrenewed is renewed before coming back`, async (t) => {
    const user = name('late');
    const token = ({ reason }) => (reason === 'renew' ? Promise.reject(new Error('not now')) : tokenOf(user, 2));
    const { herald, bodies, events } = client(t, user, { transport, token });
    await herald.connect();
    const sender = client(t, name('sender'), { transport });
    await sender.herald.connect();
    await until('its end', () => events.state.some(({ code }) => code === 4002));
    await sender.herald.send({ user }, 'while it was away');
    await until('the message', () => bodies().length === 1);
    assert.ok(events.state.some(({ state, resumed }) => state === 'connected' && resumed));
    assert.deepEqual(events.gap, []);
  });

  test(`${transport}: a token that is no good is the end, with a reason`, async (t) => {
    const { herald } = client(t, 'nobody', { transport, token: 'not.a.token' });
    await assert.rejects(herald.connect(), { name: 'HeraldError', code: 'unauthorized', retry: false });
    assert.equal(herald.state, 'closed');
  });

  test(`${transport}: the network goes and comes, and nothing is lost or told twice`, async (t) => {
    const line = await cable(t);
    const user = name('traveller');
    const { herald, bodies, events } = client(t, user, { transport, url: line.url, since: 'start', backoff: { min: 50, max: 400 } });
    await herald.connect();
    const group = name('train');
    await herald.join(group);
    const sender = client(t, name('sender'), { transport });
    await sender.herald.connect();
    await sender.herald.join(group);
    const mine = [];
    let n = 0;
    for (let round = 0; round < 3; round++) {
      for (const i of range(10)) await sender.herald.send(i % 2 ? { user } : { group }, n++);
      line.pull();
      await until('the loss is noticed', () => herald.state !== 'connected');
      for (const i of range(10)) await sender.herald.send(i % 2 ? { user } : { group }, n++);
      mine.push(...range(5).map((i) => herald.send({ user: name('sender') }, round * 5 + i)));
      line.plug();
      await until('it is back', () => herald.state === 'connected');
    }
    await Promise.all(mine);
    await until('everything', () => bodies().length >= n);
    // One order for each target.
    const of = (messages, kind) => messages.filter(({ to }) => to[kind] !== undefined).map(({ body }) => body);
    assert.deepEqual(of(events.message, 'user'), range(n).filter((i) => i % 2));
    assert.deepEqual(of(events.message, 'group'), range(n).filter((i) => i % 2 === 0));
    await until('everything back', () => of(sender.events.message, 'user').length >= 15);
    assert.deepEqual(of(sender.events.message, 'user'), range(15));
    assert.deepEqual(events.gap, []);
  });

  test(`${transport}: a saved place is gone on from`, async (t) => {
    let saved;
    const user = name('reader');
    const storage = { load: () => saved, save: (state) => (saved = JSON.parse(JSON.stringify(state))) };
    const first = client(t, user, { transport, storage });
    await first.herald.connect();
    await first.herald.send({ user }, 'before');
    await until('the first', () => first.bodies().length === 1);
    first.herald.close();
    const sender = client(t, name('sender'), { transport });
    await sender.herald.connect();
    await sender.herald.send({ user }, 'meanwhile');
    const second = client(t, user, { transport, storage });
    assert.equal((await second.herald.connect()).resumed, true);
    await second.herald.send({ user }, 'after');
    await until('both', () => second.bodies().length >= 2);
    assert.deepEqual(second.bodies(), ['meanwhile', 'after']);
    const whole = client(t, user, { transport, since: 'start' });
    await whole.herald.connect();
    await until('all', () => whole.bodies().length >= 3);
    assert.deepEqual(whole.bodies(), ['before', 'meanwhile', 'after']);
    await sender.herald.send({ user }, 'and on');
    await until('what comes', () => whole.bodies().length === 4);
  });
}

test('where WebSockets are blocked it goes on by events, and back once they pass', { skip: !globalThis.WebSocket && 'no WebSocket in this Node' }, async (t) => {
  const proxy = await forwarder(t);
  const { herald, bodies, events } = client(t, 'walled-in', { url: proxy.url, backoff: { min: 50, max: 200 }, probeAfter: 300 });
  await herald.connect();
  assert.equal(herald.transport, 'events');
  assert.equal(proxy.upgrades, 2);
  await herald.join('walled');
  for (let i = 0; i < 10; i++) await herald.send({ group: 'walled' }, i);
  await until('all ten', () => bodies().length === 10);
  proxy.passes = true;
  await until('a WebSocket', () => herald.transport === 'websocket');
  for (let i = 10; i < 20; i++) await herald.send({ group: 'walled' }, i);
  await until('all twenty', () => bodies().length === 20);
  assert.deepEqual(bodies(), Array.from({ length: 20 }, (_, i) => i));
  assert.deepEqual(events.gap, []);
});

test('a Node without WebSockets needs no word of it', { skip: globalThis.WebSocket && 'this Node has them' }, async (t) => {
  const { herald } = client(t, 'plain');
  await herald.connect();
  assert.equal(herald.transport, 'events');
});
