/** Two gateways behind haproxy, of which one and then the other is restarted under way. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TRANSPORTS, ask, client, until } from './world.mjs';

const EVERY = 10; // milliseconds
const AT_LEAST = 300;

test('gateways are restarted, and nothing is lost, doubled or out of order', async (t) => {
  const backoff = { min: 100, max: 1000 };
  const people = TRANSPORTS.flatMap((transport) => [1, 2, 3].map((i) => client(t, `member-${transport}-${i}`, { transport, backoff })));
  const senders = TRANSPORTS.map((transport) => client(t, `sender-${transport}`, { transport, backoff }));
  for (const { herald } of [...people, ...senders]) {
    await herald.connect();
    await herald.join('balanced');
  }
  const nodes = new Set(people.map(({ herald }) => herald.connection.node));
  assert.equal(nodes.size, 2, 'both gateways have clients');

  let restarting = true;
  const unsent = [];
  const say = async ({ herald }) => {
    let n = 0;
    const answers = [];
    while (restarting || n < AT_LEAST) {
      answers.push(herald.send({ group: 'balanced' }, { from: herald.user, n: n++ }).catch((error) => unsent.push(error)));
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
    await Promise.all(answers);
    return n;
  };
  const saying = senders.map(say);
  await ask('restart 0');
  await ask('restart 1');
  restarting = false;
  const counts = await Promise.all(saying);
  assert.deepEqual(unsent, []);

  const total = counts.reduce((sum, count) => sum + count, 0);
  const everybody = [...people, ...senders];
  for (const { herald, bodies } of everybody) await until(`${total} at ${herald.user}, who has ${bodies().length}`, () => bodies().length >= total);
  const order = everybody[0].events.message.map(({ offset }) => offset);
  assert.equal(new Set(order).size, total);
  for (const { events } of everybody) {
    assert.deepEqual(events.message.map(({ offset }) => offset), order, 'one order for all');
    assert.deepEqual(events.gap, []);
  }
  for (const [i, { herald, events }] of senders.entries()) {
    const mine = everybody[0].bodies().filter(({ from }) => from === herald.user).map(({ n }) => n);
    assert.deepEqual(mine, Array.from({ length: counts[i] }, (_, n) => n), 'in the order of its sender');
    assert.ok(events.state.filter(({ state }) => state === 'connected').length > 1, 'it was thrown out in between');
  }
  console.log(`told: ${total} messages to each of ${everybody.length}`);
});
