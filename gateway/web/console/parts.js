/** What several panels show alike. */

import { $, element } from './dom.js';

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: 'short', timeStyle: 'medium' });

export const time = (milliseconds) => (milliseconds === undefined ? '' : clock.format(milliseconds));

/** `columns` of [title, cell of a row, is it a number]. */
export function table(caption, columns, rows) {
  const numeric = (number) => ({ class: number ? 'number' : undefined });
  const head = columns.map(([title, , number]) => element('th', { scope: 'col', ...numeric(number) }, title));
  const body = rows.map((row) => element('tr', {}, ...columns.map(([, cell, number]) => element('td', numeric(number), cell(row) ?? ''))));
  return element(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    element('table', {}, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...body)),
  );
}

/** Why something cannot be shown, said plainly. */
export function failure(error, needed) {
  const text = error.missing ? `This gateway does not have the call ${needed} yet.` : error.message;
  return element('p', { class: error.missing ? 'quiet' : 'bad' }, text);
}

/** Puts `make(data)` there unless the same stands there already, so that nothing is taken from under a pointer. */
export class Place {
  #id;
  #shown;

  constructor(id) {
    this.#id = id;
  }

  show(data, make) {
    const text = JSON.stringify(data);
    if (text === this.#shown) return;
    this.#shown = text;
    // Of this place alone: others have buttons of the same name.
    const focused = $(this.#id).contains(document.activeElement) && document.activeElement.dataset.key;
    $(this.#id).replaceChildren(...[make(data)].flat());
    if (focused) [...$(this.#id).querySelectorAll('[data-key]')].find((one) => one.dataset.key === focused)?.focus();
  }

  fail(error, needed) {
    this.show({ failed: error.message, missing: error.missing }, () => failure(error, needed));
  }

  clear() {
    this.show(null, () => []);
  }
}

/** Resolves to whether the answer was yes. */
export function ask(text, yes) {
  const dialog = $('ask');
  $('ask-text').textContent = text;
  $('ask-yes').textContent = yes;
  dialog.showModal();
  // Not by its event `close`, which comes later: it would answer the next question, where that is asked at once.
  return new Promise((resolve) => {
    const answered = (answer) => () => {
      dialog.close();
      resolve(answer);
    };
    $('ask-yes').onclick = answered(true);
    $('ask-no').onclick = dialog.oncancel = answered(false);
  });
}

export function button(label, key, click, kind = 'plain') {
  return element('button', { type: 'button', class: kind, 'data-key': key, click }, label);
}

/** Where one is in a list that is asked for page by page. */
export class Pages {
  /** Where the pages before this one began. */
  #begun = [undefined];
  #turned;

  constructor(turned) {
    this.#turned = turned;
  }

  get after() {
    return this.#begun.at(-1);
  }

  reset() {
    this.#begun = [undefined];
  }

  /** True where a page beyond the first has nothing any more: the one before it is to be asked for. */
  left(entries) {
    if (entries.length || this.#begun.length === 1) return false;
    this.#begun.pop();
    return true;
  }

  /** To the page before, and to the next. */
  buttons(next) {
    const turn = (step) => () => {
      step();
      return this.#turned();
    };
    const back = this.#begun.length > 1 && button('Back', 'back', turn(() => this.#begun.pop()));
    const more = next !== undefined && button('More', 'more', turn(() => this.#begun.push(next)));
    return element('div', { class: 'row' }, back, more);
  }
}
