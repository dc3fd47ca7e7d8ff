/** Users: one that is looked up, with its connections; and who is online, page by page. */

import { call, path } from './api.js';
import { $, element } from './dom.js';
import { Pages, Place, ask, button, table, time } from './parts.js';

const PAGE = 20;
const result = new Place('user-result');
const online = new Place('online');

let user;
let listed = true;
const pages = new Pages(() => list());

const CONNECTIONS = [
  ['Connection', (one) => one.connection],
  ['Node', (one) => one.node],
  ['Device', (one) => one.device],
  ['Address', (one) => one.address],
  ['Dialect', (one) => one.dialect],
  ['Since', (one) => time(one.since)],
];

export function lookUp(name) {
  user = name;
  $('user').value = name;
  return look();
}

async function act(question, yes, query) {
  const name = user;
  if (!(await ask(question, yes))) return;
  try {
    await call('DELETE', `${path`users/${name}/connections`}${query}`);
    await look();
  } catch (error) {
    result.fail(error, 'DELETE /api/v1/users/{uid}/connections');
  }
}

function details(found) {
  const { connections, groups, sessions, last_seen: seen } = found;
  const name = found.user;
  const state = found.online ? element('span', { class: 'good' }, 'online') : element('span', { class: 'quiet' }, 'offline');
  const kick = () => act(`Kick ${name}? Its connections are closed, its sessions end, and its tokens of until now are refused.`, 'Kick', '');
  const cut = () => act(`Disconnect ${name}? Its tokens stay good.`, 'Disconnect', '?revoke=false');
  return element(
    'div',
    { class: 'block' },
    element('p', { class: 'title' }, element('bdi', {}, name), ' ', state),
    !found.online && seen && element('p', { class: 'quiet' }, `last seen ${time(seen)}`),
    element('p', {}, `Groups: ${groups.join(', ') || 'none'}. Sessions over HTTP: ${sessions.length}.`),
    connections.length > 0 && table(`Connections of ${name}`, CONNECTIONS, connections),
    element('div', { class: 'row' }, button('Kick', 'kick', kick, 'danger'), button('Disconnect', 'cut', cut)),
  );
}

async function look() {
  const name = user;
  try {
    const found = await call('GET', path`users/${name}`);
    if (name === user) result.show(found, details);
  } catch (error) {
    if (name === user) result.fail(error, 'GET /api/v1/users/{uid}');
  }
}

function page({ users, next }) {
  const name = (one) => (typeof one === 'string' ? one : one.user);
  const link = (one) => button(name(one), `user ${name(one)}`, () => lookUp(name(one)), 'name');
  const columns = [['User', link]];
  if (users.some((one) => one.connections !== undefined)) columns.push(['Connections', (one) => String(one.connections?.length ?? one.connections), true]);
  return element(
    'div',
    { class: 'block' },
    users.length ? table('Users online', columns, users) : element('p', { class: 'quiet' }, 'nobody'),
    pages.buttons(next),
  );
}

async function list() {
  const { after } = pages;
  try {
    const from = after === undefined ? '' : path`&after=${after}`;
    const found = await call('GET', `users?online=true&limit=${PAGE}${from}`);
    if (after !== pages.after) return; // another page was asked for meanwhile
    if (pages.left(found.users)) await list();
    else online.show({ ...found, after }, page);
  } catch (error) {
    listed = !error.missing; // it will not come while this gateway runs
    online.fail(error, 'GET /api/v1/users?online=true');
  }
}

export function begin() {
  $('find-user').addEventListener('submit', (event) => {
    event.preventDefault();
    lookUp($('user').value);
  });
}

export const refresh = () => Promise.all([user !== undefined && look(), listed && list()]);
