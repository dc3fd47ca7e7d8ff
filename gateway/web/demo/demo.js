/** The demo page: a chat over the gateway that it was loaded from. All that keeps a connection up is in herald.js. */

import { Herald, HeraldError } from '../herald.js';
import { $ } from './dom.js';
import { showConversations, showLog, showNotice, showStatus, showTitle } from './view.js';

/** `#name=alice` signs in at once; `ttl` (seconds) and `transport` are for trying things out. */
const asked = new URLSearchParams(location.hash.slice(1));
const LOBBY = 'lobby';
const OTHERS = ['alice', 'bob', 'carol', 'dave'];

/** Id → { id, kind, name, messages, pending, online, unread }. */
const conversations = new Map();
/** The connection has ended for good. */
let over = false;
let herald;
let me;
let current;
let cut = false;

async function token() {
  const query = new URLSearchParams({ user: me });
  if (asked.has('ttl')) query.set('ttl', asked.get('ttl'));
  const answer = await fetch(`dev/token?${query}`, { method: 'POST' });
  if (answer.ok) return (await answer.json()).token;
  const why = (await answer.text()).trim();
  throw new HeraldError(answer.status < 500 ? 'bad_request' : 'unavailable', why, { retry: answer.status >= 500 });
}

function conversation(kind, name) {
  const id = `${kind} ${name}`;
  let found = conversations.get(id);
  if (!found) {
    found = { id, kind, name, messages: [], pending: [], online: false, unread: 0 };
    conversations.set(id, found);
    // What the end has broken off is told by the end itself.
    begin(found).catch((error) => over || showNotice(`${name}: ${error.message}`));
  }
  return found;
}

async function begin(found) {
  const { kind, name } = found;
  if (kind === 'user') {
    const { users } = await herald.watch([name]);
    found.online = users[name]?.online ?? false;
    render();
    return;
  }
  if (!herald.groups.has(name)) await herald.join(name);
  const [{ messages }, { users }] = await Promise.all([herald.history({ group: name }), herald.presence({ group: name })]);
  for (const message of messages) insert(found, message);
  render();
  // Whoever is there can be talked to.
  for (const user of Object.keys(users)) if (user !== me) conversation('user', user);
}

/** By the log's order, whatever came first: history or push. */
function insert(found, message) {
  if (found.messages.some(({ id }) => id === message.id)) return false;
  const place = ({ offset }) => Number(offset?.split(':')[1] ?? Infinity);
  let at = found.messages.length;
  while (at > 0 && place(found.messages[at - 1]) > place(message)) at--;
  found.messages.splice(at, 0, message);
  return true;
}

function received(message) {
  const { connection } = herald;
  message.missed = connection.resumed && message.time < connection.time && message.from !== me;
  const { to, from } = message;
  let found;
  if (to.group !== undefined) found = conversation('group', to.group);
  else if (to.all) found = conversation('group', LOBBY);
  else found = conversation('user', (from === me ? to.user : from) ?? 'the application');
  if (to.group === LOBBY && from && from !== me) conversation('user', from);
  if (!insert(found, message)) return;
  if (found.id !== current) found.unread++;
  render();
}

async function say(text) {
  const found = conversations.get(current);
  const waiting = { body: { text } };
  found.pending.push(waiting);
  render();
  const to = found.kind === 'group' ? { group: found.name } : { user: found.name };
  try {
    // The copy comes back into the own inbox, at its place in the one order.
    await herald.send(to, waiting.body, { kind: 'chat', copy: found.kind === 'user' && found.name !== me });
    found.pending.splice(found.pending.indexOf(waiting), 1);
  } catch (error) {
    waiting.error = error.message;
  }
  render();
}

function choose(id) {
  current = id;
  conversations.get(id).unread = 0;
  render();
  $('log').scrollTop = $('log').scrollHeight;
}

/** Once for all that happens in one frame. */
let rendering = false;
function render() {
  if (rendering) return;
  rendering = true;
  requestAnimationFrame(() => {
    rendering = false;
    const shown = conversations.get(current);
    showConversations(conversations, current, choose);
    if (!shown) return;
    showTitle(shown);
    showLog(shown, me);
  });
}

function stateChanged({ state, reason, delay }) {
  $('switch').setAttribute('aria-checked', String(!cut));
  if (cut) return showStatus('idle', 'cut off by you; others can go on writing');
  const seconds = Math.ceil((delay ?? 0) / 1000);
  const text = {
    connecting: 'connecting …',
    connected: `connected by ${herald.transport === 'events' ? 'Server-Sent Events' : 'WebSocket'} to ${herald.connection?.node}`,
    waiting: `connection lost${reason ? ` (${reason})` : ''}; next try in ${seconds} s`,
    closed: 'ended',
    idle: 'not connected',
  }[state];
  showStatus(state, text);
}

function ended(error) {
  if (!error) return;
  over = true;
  const text = error.code === 'kicked' ? 'You were put out by the application.' : `The connection has ended: ${error.message}.`;
  showNotice(text, { label: 'Come back', run: () => location.reload() });
}

async function signIn(name) {
  me = name;
  herald = new Herald({ token, since: 'start', transport: asked.get('transport') ?? 'auto' });
  herald.on('state', stateChanged);
  herald.on('message', received);
  herald.on('presence', ({ user, online }) => {
    const found = conversations.get(`user ${user}`);
    if (found) found.online = online;
    render();
  });
  herald.on('group', ({ group, joined }) => joined && conversation('group', group));
  herald.on('gap', () => showNotice('Some messages may be gone for good; an application would load its state anew here.'));
  herald.on('closed', ended);
  await herald.connect();
  document.title = `${me} · Herald`;
  history.replaceState(null, '', `#${new URLSearchParams({ ...Object.fromEntries(asked), name: me })}`);
  $('me').textContent = me;
  $('another').href = `./#name=${OTHERS.find((other) => other !== me)}`;
  $('entrance').hidden = true;
  $('app').hidden = false;
  choose(conversation('group', LOBBY).id);
  for (const group of herald.groups) conversation('group', group);
  $('text').focus();
}

$('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  $('sign-in-error').textContent = '';
  signIn($('name').value).catch((error) => {
    $('sign-in-error').textContent = error.message;
  });
});

$('open').addEventListener('submit', (event) => {
  event.preventDefault();
  const { value } = event.submitter ?? { value: 'user' };
  choose(conversation(value, $('with').value).id);
  $('with').value = '';
  $('text').focus();
});

$('compose').addEventListener('submit', (event) => {
  event.preventDefault();
  say($('text').value);
  $('text').value = '';
});

$('switch').addEventListener('click', () => {
  if (herald.state === 'closed') return;
  cut = !cut;
  if (cut) herald.disconnect();
  else herald.connect().catch(() => {}); // `closed` tells why
  stateChanged({ state: herald.state });
});

if (asked.get('name')) {
  $('name').value = asked.get('name');
  $('sign-in').requestSubmit();
} else $('name').focus();
