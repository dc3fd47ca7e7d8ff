/** A message from the application itself. */

import { call } from './api.js';
import { $, element } from './dom.js';
import { Place, table, time } from './parts.js';

const result = new Place('send-result');

function target() {
  const kind = $('send').elements.to.value;
  const names = $('names').value.split('\n').filter((name) => name !== '');
  if (kind === 'all') return { to: { all: true }, names: ['everybody'] };
  return kind === 'group' ? { to: { group: names[0] }, names: names.slice(0, 1) } : { to: { users: names }, names };
}

function content(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function outcome({ error, duplicate, online }) {
  if (error) return element('span', { class: 'bad' }, error.message);
  return element('span', { class: 'good' }, duplicate ? 'sent before' : online ? 'sent' : 'sent; nobody is online');
}

async function send() {
  const { to, names } = target();
  try {
    const { results } = await call('POST', 'messages', { to, body: content($('body').value), durable: $('durable').checked });
    const rows = results.map((one, i) => ({ ...one, name: names[i] }));
    const columns = [['To', (row) => row.name], ['', outcome], ['At', (row) => time(row.time)], ['Offset', (row) => row.offset]];
    result.show(rows, () => table('What became of it', columns, rows));
  } catch (error) {
    result.fail(error, 'POST /api/v1/messages');
  }
}

export function begin() {
  $('send').addEventListener('submit', (event) => {
    event.preventDefault();
    result.clear();
    send();
  });
  $('send').addEventListener('change', () => {
    const all = $('send').elements.to.value === 'all';
    $('names-field').hidden = all;
    $('names').required = !all;
  });
}
