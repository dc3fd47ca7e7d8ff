/** Lines over the last two minutes, as inline SVG. */

import { element } from './dom.js';

const SVG = 'http://www.w3.org/2000/svg';
export const SAMPLES = 120;
const HEIGHT = 100;

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** A round number not below the greatest value. */
function ceiling(greatest) {
  if (!(greatest > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(greatest));
  return [1, 2, 5, 10].map((factor) => factor * power).find((bound) => bound >= greatest);
}

/** Breaks where nothing is known. */
function outline(values, top) {
  let pen = 'M';
  return values
    .map((value, i) => {
      if (value === undefined) {
        pen = 'M';
        return '';
      }
      const x = SAMPLES - values.length + i;
      const y = HEIGHT - (value / top) * (HEIGHT - 4) - 2;
      const step = `${pen}${x} ${y.toFixed(1)}`;
      pen = 'L';
      return step;
    })
    .join('');
}

export class Chart {
  #series;
  #format;
  #title;
  #lines;
  #top;
  #image;

  /** `names` of one or two series. */
  constructor(title, names, format) {
    this.#title = title;
    this.#format = format;
    this.#series = names.map(() => []);
    const lined = (i) => (i ? 'second' : '');
    this.#lines = names.map((_, i) => svg('path', { class: `line ${lined(i)}` }));
    this.#image = svg('svg', { viewBox: `0 0 ${SAMPLES - 1} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    this.#image.append(...this.#lines);
    this.outputs = names.map(() => element('output', {}, '–'));
    this.#top = element('span', {}, '');
    const keys = names.map((name, i) => element('span', { class: name && `key ${lined(i)}` }, name && `${name} `, this.outputs[i]));
    this.figure = element(
      'figure',
      {},
      element('figcaption', {}, element('span', {}, title), element('span', { class: 'keys' }, ...keys)),
      this.#image,
      element('div', { class: 'scale' }, element('span', {}, '2 min ago'), this.#top, element('span', {}, 'now')),
    );
  }

  /** One value for each series; undefined where it is not known. */
  add(...values) {
    values.forEach((value, i) => {
      const series = this.#series[i];
      series.push(value);
      if (series.length > SAMPLES) series.shift();
      this.outputs[i].value = value === undefined ? '–' : this.#format(value);
    });
    const known = this.#series.flat().filter((value) => value !== undefined);
    const greatest = Math.max(0, ...known);
    const top = ceiling(greatest);
    this.#lines.forEach((line, i) => line.setAttribute('d', outline(this.#series[i], top)));
    this.#top.textContent = `top: ${this.#format(top)}`;
    const now = this.outputs.map((output) => output.value).join(', ');
    this.#image.setAttribute('aria-label', `${this.#title}: now ${now}, at most ${this.#format(greatest)} in the last two minutes`);
  }
}
