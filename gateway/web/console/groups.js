/** Groups: all there are, page by page; and one that is looked up, with its members and who is to join or leave. */

import { call, path } from './api.js';
import { $, element } from './dom.js';
import { Pages, Place, ask, button, table, time } from './parts.js';
import { lookUp as lookUpUser } from './users.js';

const GROUPS = 20;
const MEMBERS = 50;
const result = new Place('group-result');
const all = new Place('groups');

let group;
let listed = true;
const pages = new Pages(() => list());
const members = new Pages(() => look());

function lookUp(name) {
  group = name;
  members.reset();
  $('group').value = name;
  return look();
}

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

async function end(name) {
  if (!(await ask(`Delete ${name}? All its members leave it. What is stored for it stays.`, 'Delete'))) return;
  try {
    await call('DELETE', path`groups/${name}`);
    await Promise.all([look(), list()]);
  } catch (error) {
    result.fail(error, 'DELETE /api/v1/groups/{gid}');
  }
}

function details({ about, members: shown, next }) {
  const columns = [
    ['Member', (one) => button(one.user, `member ${one.user}`, () => lookUpUser(one.user), 'name')],
    ['', (one) => element('span', { class: one.online ? 'good' : 'quiet' }, one.online ? 'online' : 'offline')],
    ['Since', (one) => time(one.since)],
    ['', (one) => button('Remove', `remove ${one.user}`, () => remove(one.user), 'danger')],
  ];
  return element(
    'div',
    { class: 'block' },
    element('p', { class: 'title' }, element('bdi', {}, about.group), `: ${about.members} members, ${about.online} online`),
    shown.length > 0 && table(`Members of ${about.group}`, columns, shown),
    members.buttons(next),
    element('div', { class: 'row' }, button('Delete the group', 'delete', () => end(about.group), 'danger')),
  );
}

async function look() {
  const name = group;
  if (name === undefined) return;
  const { after } = members;
  const isStill = () => name === group && after === members.after;
  try {
    const from = after === undefined ? '' : path`&after=${after}`;
    const [about, { members: shown, next }] = await Promise.all([
      call('GET', path`groups/${name}`),
      call('GET', `${path`groups/${name}/members`}?limit=${MEMBERS}${from}`),
    ]);
    if (!isStill()) return;
    if (members.left(shown)) await look();
    else result.show({ about, members: shown, next, after }, details);
  } catch (error) {
    if (isStill()) result.fail(error, 'GET /api/v1/groups/{gid}');
    if (error.missing) group = undefined;
  }
  $('add-member').hidden = group === undefined;
}

function page({ groups, next }) {
  const columns = [
    ['Group', (one) => button(one.group, `group ${one.group}`, () => lookUp(one.group), 'name')],
    ['Members', (one) => String(one.members), true],
    ['Online', (one) => String(one.online), true],
  ];
  return element(
    'div',
    { class: 'block' },
    groups.length ? table('Groups', columns, groups) : element('p', { class: 'quiet' }, 'none'),
    pages.buttons(next),
  );
}

async function list() {
  const { after } = pages;
  try {
    const from = after === undefined ? '' : path`&after=${after}`;
    const found = await call('GET', `groups?limit=${GROUPS}${from}`);
    if (after !== pages.after) return; // another page was asked for meanwhile
    if (pages.left(found.groups)) await list();
    else all.show({ ...found, after }, page);
  } catch (error) {
    listed = !error.missing; // it will not come while this gateway runs
    all.fail(error, 'GET /api/v1/groups');
  }
}

export function begin() {
  $('find-group').addEventListener('submit', (event) => {
    event.preventDefault();
    lookUp($('group').value);
  });
  $('add-member').addEventListener('submit', (event) => {
    event.preventDefault();
    change('PUT', $('member').value);
    $('member').value = '';
  });
}

export const refresh = () => Promise.all([look(), listed && list()]);
