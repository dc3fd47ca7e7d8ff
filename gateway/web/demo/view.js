/** What the page shows. Names and texts of others only ever become text nodes: nothing of them is markup. */

import { $, element } from './dom.js';

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });

function asText(body) {
  if (typeof body?.text === 'string') return body.text;
  return typeof body === 'string' ? body : JSON.stringify(body);
}

export function showConversations(conversations, current, choose) {
  const focused = document.activeElement?.closest('#conversations li')?.dataset.id;
  const items = [...conversations.values()].map((conversation) => {
    const { id, kind, name, online, unread } = conversation;
    const group = kind === 'group';
    const state = group ? 'group' : online ? 'online' : 'offline';
    const button = element(
      'button',
      { type: 'button', 'aria-current': String(id === current), title: `${name}: ${state}`, click: () => choose(id) },
      element('span', { class: `dot ${state}`, 'aria-hidden': 'true' }, group && '#'),
      element('span', { class: 'name' }, name),
      element('span', { class: 'unseen' }, `, ${state}`),
      unread > 0 && element('span', { class: 'count' }, String(unread), element('span', { class: 'unseen' }, ' unread')),
    );
    return element('li', { 'data-id': id }, button);
  });
  $('conversations').replaceChildren(...items);
  items.find((item) => item.dataset.id === focused)?.firstChild.focus();
}

function message({ from, time, body, missed }, me) {
  const meta = element(
    'div',
    { class: 'meta' },
    element('b', {}, from ?? 'the application'),
    element('time', { datetime: new Date(time).toISOString() }, clock.format(time)),
    missed && element('span', { class: 'mark' }, 'came while you were cut off'),
  );
  const mine = from === me;
  return element('li', { class: `${mine ? 'mine' : ''} ${missed ? 'missed' : ''}` }, meta, element('div', { class: 'body' }, asText(body)));
}

function pending({ body, error }) {
  const state = error ? element('span', { class: 'failed' }, `not sent: ${error}`) : element('span', {}, 'waiting to be sent');
  return element('li', { class: 'mine pending' }, element('div', { class: 'meta' }, state), element('div', {}, asText(body)));
}

/** What is shown already stays, so that a screen reader is told of new messages only. */
export function showLog(conversation, me) {
  const log = $('log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  const kept = new Map([...log.children].filter((item) => item.dataset.message).map((item) => [item.dataset.message, item]));
  const items = conversation.messages.map((one) => {
    const item = kept.get(one.id) ?? message(one, me);
    item.dataset.message = one.id;
    return item;
  });
  items.push(...conversation.pending.map(pending));
  if (!items.length) items.push(element('li', { class: 'empty' }, 'No messages yet'));
  const changed = items.length !== log.children.length || items.some((item, i) => item !== log.children[i]);
  if (changed) place(log, items);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

/** Moves nothing that stands in its place. */
function place(log, items) {
  const wanted = new Set(items);
  for (const item of [...log.children]) if (!wanted.has(item)) item.remove();
  items.forEach((item, i) => {
    if (log.children[i] !== item) log.insertBefore(item, log.children[i] ?? null);
  });
}

export function showTitle({ kind, name, online }) {
  $('title').textContent = kind === 'group' ? `# ${name}` : `${name} (${online ? 'online' : 'offline'})`;
}

export function showStatus(state, text) {
  $('status').dataset.state = state;
  $('status').textContent = text;
}

export function showNotice(text, action) {
  const notice = $('notice');
  notice.hidden = !text;
  notice.replaceChildren(text ?? '');
  if (!text || !action) return;
  notice.append(element('button', { type: 'button', click: action.run }, action.label));
}
