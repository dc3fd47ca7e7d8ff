/** This node, each second: its metrics as numbers and lines. */

import { metricsText, readiness } from './api.js';
import { Chart } from './charts.js';
import { $, element } from './dom.js';
import { parse, quantile, rate, sum } from './metrics.js';

const count = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumFractionDigits: 1, notation: 'compact' });
const perSecond = (value) => `${short.format(value)}/s`;
const bytes = (value) => `${short.format(value)} bytes/s`;
const milliseconds = (value) => `${short.format(value)} ms`;

const CONNECTED = { state: 'connected' };

const CHARTS = [
  [new Chart('Connections', [''], count.format), ({ now }) => [sum(now, 'herald_gateway_connections', CONNECTED)]],
  [new Chart('Pushes', [''], perSecond), (looks) => [grows(looks, 'herald_gateway_pushed_frames_total')]],
  [new Chart('Commands of clients', [''], perSecond), (looks) => [grows(looks, 'herald_gateway_commands_total')]],
  [new Chart('Sent', [''], bytes), (looks) => [grows(looks, 'herald_gateway_sent_bytes_total')]],
  [new Chart('Delivery', ['p50', 'p99'], milliseconds), (looks) => times(looks, 'herald_gateway_delivery_seconds')],
  [new Chart('Routers’ answers', ['p50', 'p99'], milliseconds), (looks) => times(looks, 'herald_gateway_router_seconds')],
];

const TILES = [
  ['Connections', 'herald_gateway_connections', CONNECTED],
  ['Users online, cluster', 'herald_router_users_online'],
  ['Groups, cluster', 'herald_router_groups'],
  ['Inboxes and groups served', 'herald_gateway_targets'],
  ['Watches', 'herald_gateway_watches'],
  ['Dropped pushes', 'herald_gateway_dropped_pushes_total'],
];

let last;

function grows({ before, now, seconds }, name) {
  return before && rate(before, now, name, seconds);
}

function times({ before, now }, name) {
  const at = (q) => {
    const seconds = before && quantile(before, now, name, q);
    return seconds === undefined ? undefined : seconds * 1000;
  };
  return [at(0.5), at(0.99)];
}

export function begin() {
  $('charts').replaceChildren(...CHARTS.map(([chart]) => chart.figure));
}

/** What a router counts is known here only where one runs inside. */
function showTiles(now) {
  const known = TILES.filter(([, name]) => now.has(name));
  const tile = ([title, name, wanted]) => element('div', {}, element('dt', {}, title), element('dd', { 'data-metric': name }, count.format(sum(now, name, wanted))));
  $('tiles').replaceChildren(...known.map(tile));
}

function showReady({ ready, why }) {
  const text = ready ? `${location.host}: ready` : `${location.host}: not ready: ${why}`;
  if ($('ready').textContent === text) return; // a status is read out at each change
  $('ready').textContent = text;
  $('ready').className = ready ? 'good' : 'bad';
}

export async function look() {
  try {
    const [text, ready] = await Promise.all([metricsText(), readiness()]);
    const at = performance.now();
    const now = parse(text);
    const looks = { before: last?.samples, now, seconds: (at - last?.at) / 1000 };
    last = { at, samples: now };
    showTiles(now);
    showReady(ready);
    for (const [chart, values] of CHARTS) chart.add(...values(looks));
  } catch (error) {
    last = undefined;
    showReady({ ready: false, why: error.message });
    for (const [chart] of CHARTS) chart.add(...chart.outputs.map(() => undefined));
  }
}
