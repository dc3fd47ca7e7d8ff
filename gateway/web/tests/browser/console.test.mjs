/** The console in a real Chromium. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';

import { api, client, until } from '../outside/world.mjs';
import { HOSTILE, assertLooksGood, assertQuiet, browser } from './page.mjs';

const { HERALD_ADMIN, HERALD_API_KEY } = process.env;
const CONSOLE = `http://${HERALD_ADMIN}/console`;
/** A browser notes each answer of this kind. The page says it in words. */
const REFUSED = /status of 40[134]/;
/** What the console shows is true within this. */
const TRUTH = 2000;
/** One look of this test at the page, its pause included, on an idle machine. */
const LOOK = 40;

const held = browser();

async function open(key = HERALD_API_KEY) {
  const page = await held.chromium.page(CONSOLE, { height: 1000 });
  await page.until('it asks', () => !document.getElementById('entrance').hidden);
  await page.type('#key', key);
  await page.enter();
  return page;
}

async function opened() {
  const page = await open();
  await page.until('it is open', () => !document.getElementById('app').hidden && document.getElementById('tiles').children.length > 0);
  return page;
}

async function lookUp(page, user) {
  await page.run(() => (document.getElementById('user').value = ''));
  await page.type('#user', user);
  await page.enter();
  await page.until(`${user} is found`, (of) => document.querySelector('#user-result .title')?.textContent.startsWith(of), user);
}

const tile = (page, metric) => page.run((of) => Number(document.querySelector(`[data-metric=${of}]`)?.textContent.replaceAll(',', '')), metric);

/** Waits for it, and fails if that took longer than the truth may. What a busy machine keeps this test waiting for one
 * look is not the console's. */
async function soon(what, holds) {
  const begun = performance.now();
  let busy = 0;
  let last = begun;
  await until(what, async () => {
    const held = await holds();
    busy += Math.max(0, performance.now() - last - LOOK);
    last = performance.now();
    return held;
  });
  const took = performance.now() - begun - busy;
  assert.ok(took < TRUTH, `${what}: after ${took.toFixed(0)} ms, and ${busy.toFixed(0)} ms of a busy machine`);
}

/** Whether a click there brings the question. The list is drawn anew each second, perhaps under a click. */
async function asks(page, selector) {
  const asked = () => document.getElementById('ask').open;
  if (!(await page.run(asked))) await page.click(selector);
  return page.run(asked);
}

test('the key is asked for once, checked, and kept in this tab alone', async () => {
  const page = await open('no-such-key');
  await page.until('it is refused', () => document.getElementById('sign-in-error').textContent.includes('no API key'));
  assert.equal(await page.run(() => sessionStorage.length), 0);
  await assertLooksGood(page, 'console-entrance');
  await page.type('#key', HERALD_API_KEY);
  await page.enter();
  await page.until('it is open', () => !document.getElementById('app').hidden);
  await page.open(CONSOLE);
  await page.until('it is open again', () => !document.getElementById('app').hidden);
  const kept = await page.run(() => [sessionStorage.length, localStorage.length, document.cookie, location.search + location.hash]);
  assert.deepEqual(kept, [1, 0, '', '']);
  await page.click('#forget');
  await page.until('it asks again', () => document.getElementById('entrance')?.hidden === false);
  assert.equal(await page.run(() => sessionStorage.length), 0);
  assertQuiet(page, REFUSED);
});

test('what it shows is true within two seconds, and a kick works', async (t) => {
  const page = await opened();
  const before = await tile(page, 'herald_gateway_connections');
  const people = Array.from({ length: 5 }, (_, i) => client(t, i ? `crowd-${i}` : 'rascal', { device: `device ${i}` }));
  for (const { herald } of people) await herald.connect();
  const listed = () => [...document.querySelectorAll('#online [data-key="user rascal"]')].length === 1;
  await soon('five more', async () => (await tile(page, 'herald_gateway_connections')) === before + 5);
  await soon('that one is listed', () => page.run(listed));
  await lookUp(page, 'rascal');
  const rows = () => document.querySelectorAll('#user-result tbody tr').length;
  assert.equal(await page.run(rows), 1);
  assert.match(await page.run(() => document.getElementById('user-result').textContent), /device 0.*127\.0\.0\.1/);
  const second = client(t, 'rascal', { device: 'another' });
  await second.herald.connect();
  await soon('both connections', async () => (await page.run(rows)) === 2);

  const kick = () => soon('it asks', () => asks(page, '[data-key=kick]'));
  await kick();
  await page.click('#ask-no');
  assert.equal(people[0].herald.state, 'connected', 'no is no');
  await kick();
  await page.click('#ask-yes');
  await soon('the kick', () => people[0].herald.state === 'closed' && second.herald.state === 'closed');
  assert.equal(people[0].events.closed[0].closeCode, 4102);
  await soon('that it is seen', async () => (await page.run(rows)) === 0);
  await soon('that it is listed no more', async () => !(await page.run(listed)));
  await soon('four are left', async () => (await tile(page, 'herald_gateway_connections')) === before + 4);

  await lookUp(page, 'crowd-1');
  await soon('it asks', () => asks(page, '[data-key=cut]'));
  await page.click('#ask-yes');
  await until('it was cut', () => people[1].events.state.some(({ state }) => state !== 'connecting' && state !== 'connected'));
  assertQuiet(page, REFUSED);
});

test('a question is answered by its own answer, however soon it follows another', async () => {
  const page = await opened();
  const answers = await page.run(async () => {
    const { ask } = await import(new URL('console/parts.js', location.href).href);
    const first = ask('first?', 'Yes');
    document.getElementById('ask-no').click();
    const second = ask('second?', 'Yes');
    await new Promise((resolve) => setTimeout(resolve, 100));
    document.getElementById('ask-yes').click();
    const third = ask('third?', 'Yes');
    document.getElementById('ask').dispatchEvent(new Event('cancel'));
    return [await first, await second, await third, document.getElementById('ask').open];
  });
  assert.deepEqual(answers, [false, true, false, false]);
  assertQuiet(page, REFUSED);
});

test('a message of the form arrives, and a failure is told by target', async (t) => {
  const page = await opened();
  const { herald, bodies } = client(t, 'reader');
  await herald.connect();
  await page.type('#names', `reader\n${'x'.repeat(200)}`);
  await page.type('#body', '{"text":"from the console","n":1}');
  await page.click('#send button');
  await until('the message', () => bodies().length === 1);
  assert.deepEqual(bodies(), [{ text: 'from the console', n: 1 }]);
  await page.until('what became of it', () => document.querySelectorAll('#send-result tbody tr').length === 2);
  const outcomes = await page.run(() => [...document.querySelectorAll('#send-result tbody tr td:nth-child(2)')].map((cell) => cell.textContent));
  assert.equal(outcomes[0], 'sent');
  assert.match(outcomes[1], /128|long|bytes/);
  await page.click('#send [value=all]');
  await page.run(() => (document.getElementById('body').value = ''));
  await page.type('#body', 'plain words');
  await page.click('#send button');
  await until('the second', () => bodies().length === 2);
  assert.equal(bodies()[1], 'plain words');
  assertQuiet(page, REFUSED);
});

test('lines are drawn from what happens', async (t) => {
  const page = await opened();
  const { herald } = client(t, 'busy');
  await herald.connect();
  const drawn = () => [...document.querySelectorAll('#charts figure')].map((figure) => [figure.textContent, figure.querySelector('path').getAttribute('d') ?? '']);
  const end = Date.now() + 15_000;
  for (;;) {
    for (let i = 0; i < 20; i++) await herald.send({ user: 'busy' }, i);
    const charts = await page.run(drawn);
    const pushes = charts.find(([text]) => text.startsWith('Pushes'));
    const delivery = charts.find(([text]) => text.startsWith('Delivery'));
    if (/[1-9][\d.K]*\/s/.test(pushes[0]) && pushes[1].includes('L') && /p50 [\d.]+ ms/.test(delivery[0])) break;
    assert.ok(Date.now() < end, JSON.stringify(charts));
  }
  const label = await page.run(() => document.querySelector('#charts svg').getAttribute('aria-label'));
  assert.match(label, /^Connections: now \d+, at most \d+/);
  assertQuiet(page, REFUSED);
});

const firstCells = (page, place) => page.run((id) => [...document.querySelectorAll(`#${id} tbody tr td:first-child`)].map((cell) => cell.textContent), place);

/** The first cells of a place's table, over all its pages; and how many pages there were. */
async function paged(page, place) {
  const shown = () => firstCells(page, place);
  const has = (key) => page.run((id, of) => Boolean(document.querySelector(`#${id} [data-key=${of}]`)), place, key);
  const turn = async (key) => {
    const [before] = await shown();
    let clicked = 0;
    await until(`${key} of ${place}`, async () => {
      // What is above may grow just now, and push it from under a click.
      if (Date.now() - clicked > TRUTH) {
        await page.click(`#${place} [data-key=${key}]`);
        clicked = Date.now();
      }
      return ![undefined, before].includes((await shown())[0]);
    });
  };
  const names = await shown();
  let pages = 1;
  for (; await has('more'); pages++) {
    await turn('more');
    names.push(...(await shown()));
  }
  for (let left = pages; left > 1; left--) await turn('back');
  assert.equal(await has('back'), false);
  assert.equal((await shown())[0], names[0]);
  return { names, pages };
}

test('groups, members and users are shown page by page, all of them and each once', async (t) => {
  const page = await opened();
  const number = (n) => String(n).padStart(3, '0');
  for (let n = 0; n < 45; n++) await api('PUT', `groups/paged-${number(n)}/members/one`);
  const members = Array.from({ length: 120 }, (_, n) => `member-${number(n)}`);
  await api('POST', 'groups/paged-000/members', { add: members });
  const crowd = Array.from({ length: 45 }, (_, n) => client(t, `crowded-${number(n)}`, { transport: 'events' }));
  await Promise.all(crowd.map(({ herald }) => herald.connect()));

  // What is above on the page has come to rest before anything is clicked.
  await until('all are online', async () => (await api('GET', 'users?limit=1000')).users.length >= crowd.length);
  const users = (await api('GET', 'users?limit=1000')).users.map(({ user }) => user);
  const groups = (await api('GET', 'groups?limit=1000')).groups.map(({ group }) => group);
  const shows = (place, names) => until(`${place} as it is`, async () => isDeepStrictEqual(await firstCells(page, place), names));
  await shows('online', users.slice(0, 20));
  await shows('groups', groups.slice(0, 20));
  assert.deepEqual(await paged(page, 'groups'), { names: groups, pages: Math.ceil(groups.length / 20) });
  assert.deepEqual((await paged(page, 'online')).names, users);

  await page.run(() => document.querySelector('#groups [data-key="group paged-000"]').click());
  await page.until('its members', () => document.querySelectorAll('#group-result tbody tr').length === 50);
  assert.deepEqual(await paged(page, 'group-result'), { names: [...members, 'one'], pages: 3 });
  // On the last page, from which all go while it is shown.
  for (const first of ['member-050', 'member-100']) {
    await page.run(() => document.querySelector('#group-result [data-key=more]').click());
    await page.until(first, (of) => document.querySelector('#group-result tbody td').textContent === of, first);
  }
  await until('it asks', () => asks(page, '#group-result [data-key="remove member-100"]'));
  await page.click('#ask-yes');
  await page.until('one is gone', () => document.querySelector('#group-result tbody td').textContent === 'member-101');
  await api('POST', 'groups/paged-000/members', { remove: [...members.slice(100), 'one'] });
  await page.until('the page before', () => document.querySelector('#group-result tbody td').textContent === 'member-050');
  await page.type('#member', 'late');
  await page.enter();
  await until('it is added', async () => (await api('GET', 'groups/paged-000')).members === 101);
  await until('it asks', () => asks(page, '#group-result [data-key=delete]'));
  await page.click('#ask-yes');
  await until('it is gone', async () => !(await api('GET', 'groups?limit=1000')).groups.some(({ group }) => group === 'paged-000'));
  await page.until('it says so', () => document.getElementById('group-result').textContent.includes('no group paged-000'));
  assertQuiet(page, REFUSED);
});

test('what is redrawn beside it takes no focus away', async () => {
  const page = await opened();
  await page.until('two lists with more', () => document.querySelector('#groups [data-key=more]'));
  await page.run(() => document.querySelector('#groups [data-key=more]').focus());
  await page.run(() => {
    const other = document.createElement('button');
    other.dataset.key = 'more';
    document.body.append(other);
    other.focus();
    window.other = other;
  });
  await api('PUT', 'groups/paged-001/members/another');
  await page.until('it is redrawn', () => [...document.querySelectorAll('#groups tbody tr')].some((row) => row.textContent === 'paged-00120'));
  assert.ok(await page.run(() => document.activeElement === window.other));
  assertQuiet(page, REFUSED);
});

test('names that a URL cannot hold are said to be such', async () => {
  const page = await opened();
  for (const name of ['.', '..']) {
    await page.run(() => (document.getElementById('user').value = ''));
    await page.type('#user', name);
    await page.enter();
    await page.until('it says so', () => document.getElementById('user-result').textContent.includes('--path-as-is'));
  }
  assertQuiet(page, REFUSED);
});

test('a hostile name stays text, and what the gateway lacks is said plainly', async (t) => {
  const page = await opened();
  const { herald } = client(t, HOSTILE, { device: HOSTILE });
  await herald.connect();
  await lookUp(page, HOSTILE);
  await page.run(() => (document.getElementById('group').value = ''));
  await page.type('#group', HOSTILE);
  await page.enter();
  for (const place of ['nodes', 'online', 'group-result']) {
    const said = await page.until(place, (of) => document.getElementById(of).textContent, place);
    assert.match(said, /does not have the call|Node|User|nobody|members|\S/);
    assert.ok(!/undefined|null|\[object/.test(said), said);
  }
  assert.equal(await page.run(() => document.querySelectorAll('img').length), 0);
  await page.until('it is listed', (of) => document.getElementById('online').textContent.includes(of), HOSTILE);
  await assertLooksGood(page, 'console');
  assertQuiet(page, REFUSED);
});

test('a node that goes away is shown as away', async () => {
  const page = await opened();
  await page.send('Network.emulateNetworkConditions', { offline: true, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  await page.until('it says so', () => document.getElementById('ready').textContent.includes('does not answer'));
  await page.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  await page.until('it is back', () => document.getElementById('ready').textContent.endsWith(': ready'));
  assertQuiet(page, /ERR_INTERNET_DISCONNECTED|status of 404/);
});
