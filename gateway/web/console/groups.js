/** A group that is looked up: its members, page by page, and who is to join or leave. */

import { call, path } from './api.js';
import { $, element } from './dom.js';
import { Place, ask, button, table, time } from './parts.js';
import { lookUp } from './users.js';

const PAGE = 50;
const result = new Place('group-result');

let group;
let pages = [undefined];

async function change(method, member) {
  try {
    await call(method, path`groups/${group}/members/${member}`);
    await look();
  } catch (error) {
    result.fail(error, `${method} /api/v1/groups/{gid}/members/{uid}`);
  }
}

async function remove(member) {
  if (await ask(`Take ${member} out of ${group}?`, 'Remove')) await change('DELETE', member);
}

function turn(step) {
  step();
  return look();
}

function details({ about, members, next }) {
  const columns = [
    ['Member', (one) => button(one.user, `member ${one.user}`, () => lookUp(one.user), 'name')],
    ['', (one) => element('span', { class: one.online ? 'good' : 'quiet' }, one.online ? 'online' : 'offline')],
    ['Since', (one) => time(one.since)],
    ['', (one) => button('Remove', `remove ${one.user}`, () => remove(one.user), 'danger')],
  ];
  const back = pages.length > 1 && button('Back', 'back', () => turn(() => pages.pop()));
  const more = next && button('More', 'more', () => turn(() => pages.push(next)));
  return element(
    'div',
    { class: 'block' },
    element('p', { class: 'title' }, `${about.group}: ${about.members} members, ${about.online} online`),
    members.length > 0 && table(`Members of ${about.group}`, columns, members),
    element('div', { class: 'row' }, back, more),
  );
}

async function look() {
  const name = group;
  const after = pages.at(-1);
  try {
    const from = after === undefined ? '' : path`&after=${after}`;
    const [about, { members, next }] = await Promise.all([
      call('GET', path`groups/${name}`),
      call('GET', `${path`groups/${name}/members`}?limit=${PAGE}${from}`),
    ]);
    if (name === group) result.show({ about, members, next }, details);
  } catch (error) {
    result.fail(error, 'GET /api/v1/groups/{gid}');
    if (error.missing) group = undefined;
  }
  $('add-member').hidden = group === undefined;
}

export function begin() {
  $('find-group').addEventListener('submit', (event) => {
    event.preventDefault();
    group = $('group').value;
    pages = [undefined];
    look();
  });
  $('add-member').addEventListener('submit', (event) => {
    event.preventDefault();
    change('PUT', $('member').value);
    $('member').value = '';
  });
}

export const refresh = () => group !== undefined && look();
