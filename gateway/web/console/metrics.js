/** Prometheus' text format, and what becomes of two looks at it. */

/** Name → samples of { labels, value }. */
export function parse(text) {
  const samples = new Map();
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[name] = value;
    const [, name, , value] = match;
    if (!samples.has(name)) samples.set(name, []);
    samples.get(name).push({ labels, value: value === '+Inf' ? Infinity : Number(value) });
  }
  return samples;
}

/** The sum over all labels but those that are told; undefined where there is no such metric. */
export function sum(samples, name, wanted = {}) {
  const fits = ({ labels }) => Object.entries(wanted).every(([label, value]) => labels[label] === value);
  const found = samples.get(name);
  return found && found.filter(fits).reduce((total, { value }) => total + value, 0);
}

/** By how much a counter grows in a second; undefined where it cannot be told, as after a restart. */
export function rate(before, now, name, seconds) {
  const grown = (sum(now, name) ?? 0) - (sum(before, name) ?? 0);
  return grown < 0 || !(seconds > 0) ? undefined : grown / seconds;
}

/** A quantile of what a histogram counted between two looks, over all labels; undefined where it counted nothing. */
export function quantile(before, now, name, q) {
  const counts = new Map();
  const add = (samples, sign) => {
    for (const { labels, value } of samples.get(`${name}_bucket`) ?? []) {
      const bound = labels.le === '+Inf' ? Infinity : Number(labels.le);
      counts.set(bound, (counts.get(bound) ?? 0) + sign * value);
    }
  };
  add(now, 1);
  add(before, -1);
  const buckets = [...counts].sort(([a], [b]) => a - b);
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total <= 0) return undefined;
  let [lower, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= q * total) {
      // Within a bucket nothing is known: a straight line.
      return bound === Infinity ? lower : lower + ((bound - lower) * (q * total - below)) / (count - below || 1);
    }
    [lower, below] = [bound, count];
  }
  return undefined;
}
