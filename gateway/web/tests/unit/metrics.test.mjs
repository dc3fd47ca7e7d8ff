/** What the console reads out of Prometheus' text. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parse, quantile, rate, sum } from '../../console/metrics.js';

const text = `# HELP connections Connections
# TYPE connections gauge
connections{dialect="json",state="connected"} 3
connections{dialect="proto",state="connected"} 2
connections{dialect="proto",state="closing"} 1
odd{name="a\\"b,c=\\"d\\"}"} 4
plain 1.5e3
`;

test('samples are read with their labels, whatever these hold', () => {
  const samples = parse(text);
  assert.deepEqual(samples.get('odd'), [{ labels: { name: 'a\\"b,c=\\"d\\"}' }, value: 4 }]);
  assert.equal(sum(samples, 'connections'), 6);
  assert.equal(sum(samples, 'connections', { state: 'connected' }), 5);
  assert.equal(sum(samples, 'plain'), 1500);
  assert.equal(sum(samples, 'nothing'), undefined);
});

test('a rate is what was counted in between, and unknown after a restart', () => {
  const [before, now] = [parse('c{a="1"} 10\nc{a="2"} 5\n'), parse('c{a="1"} 20\nc{a="2"} 15\n')];
  assert.equal(rate(before, now, 'c', 2), 10);
  assert.equal(rate(now, before, 'c', 2), undefined);
  assert.equal(rate(parse(''), now, 'c', 2), 17.5, 'what had not been counted at all');
  assert.equal(rate(before, now, 'c', NaN), undefined);
});

test('quantiles are of what came in between', () => {
  const histogram = (one, two, all) => parse(`h_bucket{le="1"} ${one}\nh_bucket{le="2"} ${two}\nh_bucket{le="+Inf"} ${all}\n`);
  const before = histogram(100, 100, 100);
  assert.equal(quantile(before, histogram(110, 110, 110), 'h', 0.5), 0.5);
  assert.equal(quantile(before, histogram(105, 110, 110), 'h', 0.75), 1.5);
  assert.equal(quantile(before, histogram(100, 100, 110), 'h', 0.5), 2, 'beyond the last bound it is at least that');
  assert.equal(quantile(before, before, 'h', 0.5), undefined);
});
