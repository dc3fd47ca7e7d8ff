/** What is decided without a clock or a network: when to come back, what has been seen, what a stream says. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import * as library from '../../herald.js';
import { Herald, Seen, backoff, decide, eventParser, expiry } from '../../herald.js';
import { jwt } from './fakes.mjs';

test('the wait doubles up to its bound and is anything below it', () => {
  const bounds = { min: 500, max: 30_000 };
  const longest = [0, 1, 2, 5, 6, 60].map((attempt) => backoff(attempt, { ...bounds, random: () => 1 }));
  assert.deepEqual(longest, [500, 1000, 2000, 16_000, 30_000, 30_000]);
  assert.equal(backoff(9, { ...bounds, random: () => 0 }), 0);
  const waits = Array.from({ length: 200 }, () => backoff(3, bounds));
  assert.ok(waits.every((wait) => wait >= 0 && wait < 4000));
  assert.ok(new Set(waits.map((wait) => Math.floor(wait / 500))).size > 4, 'spread over the whole');
});

test('40xx comes back, 41xx does not', () => {
  for (const code of [4000, 4001, 4003, 4004, 4005, 4099, 1000, 1001, 1006, 1011, 1012]) {
    const next = decide({ code }, { random: () => 0.5 });
    assert.equal(next.stop, undefined, String(code));
    assert.ok(next.delay >= 0, String(code));
  }
  const names = { 4101: 'timeout', 4102: 'kicked', 4103: 'replaced', 4104: 'bad_request', 4105: 'too_many_connections', 4199: 'bad_request' };
  for (const [code, name] of Object.entries(names)) {
    const { stop } = decide({ code: Number(code) }, { canRenew: true });
    assert.deepEqual([stop.code, stop.closeCode], [name, Number(code)]);
  }
});

test('a token that has ended is renewed, one that was refused fresh is not', () => {
  assert.deepEqual(decide({ code: 4002 }, { canRenew: true, fresh: true }), { renew: true, delay: 0 });
  assert.ok(decide({ code: 4002 }, { canRenew: true, attempt: 3, random: () => 1 }).delay > 0, 'no busy loop');
  assert.equal(decide({ code: 4100 }, { canRenew: true }).renew, true);
  assert.equal(decide({ status: 401 }, { canRenew: true }).renew, true);
  for (const circumstances of [{ canRenew: true, fresh: true }, { canRenew: false }]) {
    assert.equal(decide({ code: 4100 }, circumstances).stop.code, 'unauthorized');
  }
  assert.equal(decide({ code: 4002 }, { canRenew: false }).stop.code, 'unauthorized');
});

test('what the server asks to wait is waited', () => {
  assert.ok(decide({ status: 503, afterMs: 7000 }, { random: () => 0 }).delay >= 7000);
  assert.ok(decide({ code: 4004 }, { random: () => 0 }).delay >= 1000);
});

test('a cursor that is not understood is given up once, and then it is the client', () => {
  for (const end of [{ code: 4104 }, { status: 400 }]) {
    assert.deepEqual(decide(end, { hadCursor: true }), { forget: true, delay: 0 });
    assert.equal(decide(end, {}).stop.code, 'bad_request');
  }
  assert.equal(decide({ status: 403 }, {}).stop.code, 'forbidden');
});

test('an offset is seen once for each target and log', () => {
  const seen = new Seen();
  const admit = (to, offset) => seen.admit({ to, offset });
  const g = { group: 'g' };
  assert.ok(admit(g, 'e.0:5'));
  assert.ok(!admit(g, 'e.0:5'));
  assert.ok(!admit(g, 'e.0:4'), 'a target ascends');
  assert.ok(admit({ user: 'bob' }, 'e.0:4'), 'another target');
  assert.ok(!admit({ user: 'carol' }, 'e.0:4'), 'copies and messages are one inbox');
  assert.ok(admit({ all: true }, 'e.0:4'));
  assert.ok(admit(g, 'e.0:10'), 'by number, not as text');
  assert.ok(admit(g, 'f.0:1'), 'another log counts anew');
  assert.ok(admit(g, undefined) && admit(g, undefined), 'what is not stored comes once anyhow');
  const copy = new Seen(JSON.parse(JSON.stringify(seen)));
  assert.ok(!copy.admit({ to: g, offset: 'f.0:1' }));
  seen.forget('g');
  assert.ok(admit(g, 'f.0:1'));
  assert.ok(!admit({ all: true }, 'e.0:4'));
  seen.forget();
  assert.ok(admit({ all: true }, 'e.0:4'));
});

test('a stream of events is read however it is cut', () => {
  const text = 'event: connected\nid: e@0:1\ndata: {"a":1}\n\n: ping\n: ping\nevent: message\r\ndata: x\r\ndata: y\r\n\r\ndata:z\n\nevent: empty\n\n';
  const wanted = [['connected', '{"a":1}'], ['message', 'x\ny'], ['message', 'z']];
  for (let size = 1; size <= text.length; size++) {
    const events = [];
    const parse = eventParser((name, data) => events.push([name, data]));
    for (let at = 0; at < text.length; at += size) parse(text.slice(at, at + size));
    assert.deepEqual(events, wanted, `in pieces of ${size}`);
  }
});

test('the end of a token is read from it, or is not known', () => {
  assert.equal(expiry(jwt({ exp: 1790000000, sub: 'zoë小' })), 1790000000_000);
  for (const none of ['', 'x', 'a.b.c', jwt({}), jwt({ exp: 'soon' })]) assert.equal(expiry(none), undefined);
});

test('the types name all that there is, and nothing else', async () => {
  const types = await readFile(new URL('../../herald.d.ts', import.meta.url), 'utf8');
  const names = [...types.matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(names.sort(), Object.keys(library).sort());
  const [, body] = /^export class Herald \{\n(.*?)^\}/ms.exec(types);
  const members = new Set([...body.matchAll(/^  (?:readonly )?(\w+)[(<:]/gm)].map(([, name]) => name));
  const made = new Herald({ url: 'http://h', token: 't' });
  const own = Object.getOwnPropertyNames(Object.getPrototypeOf(made));
  assert.deepEqual([...members].sort(), [...new Set([...own, ...Object.keys(made)])].sort());
});
