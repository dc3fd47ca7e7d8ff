/** A WebSocket and a clock in the hands of a test. */

import { mock } from 'node:test';

import { Herald } from '../../herald.js';

export class FakeSocket {
  static made = [];
  readyState = 0;
  bufferedAmount = 0;
  sent = [];
  answersPings = true;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    FakeSocket.made.push(this);
  }

  static get last() {
    return FakeSocket.made.at(-1);
  }

  send(text) {
    const command = JSON.parse(text);
    this.sent.push(command);
    if (command.ping && this.answersPings) queueMicrotask(() => this.says({ id: command.id, pong: {} }));
  }

  close(code) {
    this.readyState = 3;
    this.closed = code;
  }

  open() {
    this.readyState = 1;
    this.onopen();
    return this;
  }

  says(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
    return this;
  }

  /** Opens and welcomes. */
  welcome(more = {}) {
    this.open();
    const { id } = this.sent[0];
    const connected = { user: 'alice', connection: 'c', node: 'n', groups: [], cursor: 'e@0:1', resumed: false, gap: false, ping: 25, expires: seconds() + 3600, time: Date.now() };
    return this.says({ id, connected: { ...connected, ...more } });
  }

  end(code, reason = '') {
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  /** The last command of this verb. */
  command(verb) {
    return this.sent.findLast((command) => command[verb]);
  }

  commands(verb) {
    return this.sent.filter((command) => command[verb]);
  }
}

export const seconds = () => Math.floor(Date.now() / 1000);

export function jwt(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part(claims)}.`;
}

/** All that has been promised happens before the clock goes on. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

export async function pass(milliseconds, step = 250) {
  for (let passed = 0; passed < milliseconds; passed += step) {
    mock.timers.tick(Math.min(step, milliseconds - passed));
    await settled();
  }
}

/** A client of fakes, and everything that it has told. */
export function client(options = {}) {
  FakeSocket.made.length = 0;
  const told = [];
  const herald = new Herald({ url: 'http://push.example', token: () => jwt({ exp: seconds() + 3600 }), WebSocket: FakeSocket, random: () => 1, ...options });
  for (const name of ['message', 'presence', 'group', 'gap', 'notice', 'state', 'error', 'closed']) {
    herald.on(name, (event) => told.push([name, event]));
  }
  return { herald, told, of: (name) => told.filter(([one]) => one === name).map(([, event]) => event) };
}

/** One that is connected. */
export async function connected(options, welcome) {
  const made = client(options);
  made.herald.connect().catch(() => {});
  await settled();
  FakeSocket.last.welcome(welcome);
  await settled();
  return { ...made, socket: FakeSocket.last };
}
