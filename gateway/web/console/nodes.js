/** All nodes of the cluster, where the gateway lists them. Metrics are of this node alone. */

import { call } from './api.js';
import { element } from './dom.js';
import { Place, table, time } from './parts.js';

const place = new Place('nodes');
let listed = true;

const COLUMNS = [
  ['Node', (node) => node.id],
  ['Kind', (node) => node.kind],
  ['Version', (node) => node.version],
  ['Started', (node) => time(node.started)],
  ['Connections', (node) => node.connections === undefined ? '' : String(node.connections), true],
  ['Lease', (node) => (node.lease_age_ms === undefined ? '' : `${(node.lease_age_ms / 1000).toFixed(0)} s ago`), true],
  ['', (node) => element('span', { class: node.ready ? 'good' : 'bad' }, node.ready ? 'ready' : 'not ready')],
];

export async function refresh() {
  if (!listed) return;
  try {
    const { nodes } = await call('GET', 'nodes');
    // Shown by the second, or it would be another table each time.
    const rounded = nodes.map((node) => ({ ...node, lease_age_ms: Math.floor((node.lease_age_ms ?? 0) / 1000) * 1000 }));
    place.show(rounded, (rows) => table('Nodes', COLUMNS, rows));
  } catch (error) {
    listed = !error.missing;
    place.fail(error, 'GET /api/v1/nodes');
  }
}
