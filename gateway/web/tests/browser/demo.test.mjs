/** The demo page in a real Chromium. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PUBLIC, api, cable, client } from '../outside/world.mjs';
import { HOSTILE, assertLooksGood, assertQuiet, browser } from './page.mjs';

const held = browser();

async function join(name, { base = PUBLIC, more = {} } = {}) {
  const page = await held.chromium.page(`${base}/#${new URLSearchParams({ name, ...more })}`);
  await page.until(`${name} is in`, () => !document.getElementById('app').hidden && document.getElementById('status').dataset.state === 'connected');
  return page;
}

async function say(page, text) {
  await page.type('#text', text);
  await page.enter();
}

const texts = (page) => page.run(() => [...document.querySelectorAll('#log .body')].map((body) => body.textContent));
const shows = (page, text) => page.until(`“${text}”`, (of) => [...document.querySelectorAll('#log .body')].some((body) => body.textContent === of), text);

test('two pages chat, in a group and one to one, and see who is there', async () => {
  const page = await held.chromium.page(`${PUBLIC}/`);
  await assertLooksGood(page, 'entrance');
  await page.type('#name', 'ann'); // the field has the focus
  await page.enter();
  await page.until('ann is in', () => document.getElementById('status').dataset.state === 'connected');
  const other = await join('ben');
  await say(other, 'hello from ben');
  await shows(page, 'hello from ben');
  await say(page, 'hello from ann');
  for (const one of [page, other]) await shows(one, 'hello from ann');
  assert.deepEqual(await texts(page), await texts(other));
  const dot = () => document.querySelector('[data-id="user ben"] .dot')?.classList.contains('online');
  await page.until('ben is there', dot);
  await page.click('[data-id="user ben"] button');
  await say(page, 'for you alone');
  await other.until('a message is waiting', () => document.querySelector('[data-id="user ann"] .count')?.textContent.startsWith('1'));
  await other.click('[data-id="user ann"] button');
  await shows(other, 'for you alone');
  await shows(page, 'for you alone'); // its copy
  await other.open('about:blank');
  await page.until('ben is gone', () => document.querySelector('[data-id="user ben"] .dot')?.classList.contains('offline'));
  assertQuiet(page);
  assertQuiet(other);
});

test('who cuts the connection gets what came meanwhile, in order and marked', async () => {
  const page = await join('cut');
  const other = await join('writer');
  await page.click('#switch');
  await page.until('it is cut', () => document.getElementById('switch').getAttribute('aria-checked') === 'false');
  const sent = Array.from({ length: 20 }, (_, i) => `meanwhile ${i}`);
  for (const text of sent) await say(other, text);
  await shows(other, sent.at(-1));
  await say(page, 'said while cut off');
  await page.until('it waits', () => document.querySelector('.pending')?.textContent.includes('waiting'));
  await assertLooksGood(page, 'demo-cut');
  const before = await texts(page);
  assert.ok(!before.some((text) => text.startsWith('meanwhile')));
  await page.click('#switch');
  await shows(page, 'said while cut off');
  await page.until('nothing waits', () => !document.querySelector('.pending'));
  const after = await texts(page);
  assert.deepEqual(after.slice(-21), [...sent, 'said while cut off']);
  const marked = await page.run(() => [...document.querySelectorAll('.missed .body')].map((body) => body.textContent));
  assert.deepEqual(marked, sent);
  await assertLooksGood(page, 'demo');
  assertQuiet(page);
});

test('the network is cut under way, and nothing is lost, doubled or out of order', async (t) => {
  const line = await cable(t);
  const page = await join('underground', { base: line.url });
  const sender = client(t, 'steady');
  await sender.herald.connect();
  await sender.herald.join('lobby');
  const sent = [];
  const send = async (n) => {
    for (let i = 0; i < n; i++) {
      sent.push(`steady ${sent.length}`);
      await sender.herald.send({ group: 'lobby' }, { text: sent.at(-1) });
    }
  };
  for (let round = 0; round < 2; round++) {
    await send(10);
    line.pull();
    await page.until('the loss is shown', () => document.getElementById('status').dataset.state !== 'connected');
    await send(10);
    line.plug();
    await page.until('it is back', () => document.getElementById('status').dataset.state === 'connected');
  }
  await shows(page, sent.at(-1));
  assert.deepEqual((await texts(page)).filter((text) => text.startsWith('steady')), sent);
  // A browser complains about connections that it cannot make.
  assertQuiet(page, /ERR_|WebSocket connection to/);
});

test('tokens run out and are renewed while one writes', async (t) => {
  const page = await join('renewing', { more: { ttl: '4' } });
  const sender = client(t, 'patient');
  await sender.herald.connect();
  await page.run(() => {
    window.states = [];
    new MutationObserver(() => window.states.push(document.getElementById('status').dataset.state)).observe(document.getElementById('status'), { attributes: true });
  });
  await sender.herald.join('lobby');
  const begun = Date.now();
  let n = 0;
  while (Date.now() - begun < 10_000) {
    await sender.herald.send({ group: 'lobby' }, { text: `patient ${n++}` });
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  await shows(page, `patient ${n - 1}`);
  assert.deepEqual((await texts(page)).filter((text) => text.startsWith('patient')), Array.from({ length: n }, (_, i) => `patient ${i}`));
  assert.deepEqual(await page.run(() => window.states), [], 'on one connection all the time');
  assertQuiet(page);
});

test('where WebSockets are blocked the page chats all the same', async () => {
  const page = await join('by-events', { more: { transport: 'events' } });
  await say(page, 'no socket needed');
  await shows(page, 'no socket needed');
  // A stream is opened anew for each whom it is to watch.
  await page.until('it says how', () => document.getElementById('status').textContent.includes('Server-Sent Events'));
  assertQuiet(page);
});

test('a hostile name and a hostile text stay text', async () => {
  const hostile = await join(HOSTILE);
  const page = await join('victim');
  await say(hostile, HOSTILE);
  await shows(page, HOSTILE);
  await page.click('#conversations li:last-child button');
  for (const shown of [hostile, page]) {
    assert.equal(await shown.run(() => document.querySelectorAll('img').length), 0);
    assert.ok((await shown.run(() => document.body.textContent)).includes('<img src=x'));
    assertQuiet(shown);
  }
  await assertLooksGood(page, 'demo-many');
});

test('who is kicked is told, and can come back', async () => {
  const page = await join('unwelcome');
  await api('DELETE', 'users/unwelcome/connections');
  await page.until('it is told', () => document.getElementById('notice').textContent.includes('put out'));
  await page.click('#notice button');
  await page.until('it is back', () => document.getElementById('status')?.dataset.state === 'connected');
  assertQuiet(page);
});

test('everything can be reached and used with a keyboard alone', async () => {
  const page = await join('keys');
  const reached = [];
  await page.run(() => document.activeElement.blur());
  for (let i = 0; i < 40; i++) {
    await page.press('Tab');
    reached.push(await page.run(() => document.activeElement.id || document.activeElement.textContent.trim().slice(0, 20)));
  }
  for (const wanted of ['switch', 'with', 'log', 'text', 'Send', 'another']) assert.ok(reached.includes(wanted), `${wanted} in ${reached}`);
  await page.run(() => document.getElementById('switch').focus());
  await page.press(' ', 'Space', ' ');
  await page.until('it is cut', () => document.getElementById('switch').getAttribute('aria-checked') === 'false');
  const nameless = () =>
    [...document.querySelectorAll('input, button, a[href]')]
      .filter((one) => one.checkVisibility())
      .filter((one) => !(one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim()))
      .map((one) => one.outerHTML);
  assert.deepEqual(await page.run(nameless), []);
  assertQuiet(page);
});
