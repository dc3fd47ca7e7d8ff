/** A gateway whose log is in memory is restarted: what it had is gone, and the client is told so. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TRANSPORTS, ask, client, until } from './world.mjs';

test('a log that is another than the cursor’s is a gap, and things go on', async (t) => {
  const people = TRANSPORTS.map((transport) => client(t, `forgotten-${transport}`, { transport, backoff: { min: 50, max: 500 } }));
  for (const { herald, bodies } of people) {
    await herald.connect();
    for (let i = 0; i < 5; i++) await herald.send({ user: herald.user }, i);
    await until('all five', () => bodies().length === 5);
  }
  await ask('restart 0');
  for (const { herald, bodies, events } of people) {
    await until('the gap', () => events.gap.length === 1);
    // The new log counts from the beginning: what comes now has numbers that were seen already.
    for (let i = 0; i < 5; i++) await herald.send({ user: herald.user }, `new ${i}`);
    await until('the new ones', () => bodies().length === 10);
    assert.deepEqual(bodies().slice(5), [0, 1, 2, 3, 4].map((i) => `new ${i}`));
  }
});
