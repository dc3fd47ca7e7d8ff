/**
 * Herald's client for browsers and Node: one file, no dependencies, no build step.
 *
 *     import { Herald } from 'https://push.example/herald.js';
 *
 *     const herald = new Herald({ token: () => fetch('/my/token').then((answer) => answer.text()) });
 *     herald.on('message', (message) => show(message.from, message.body));
 *     herald.on('gap', () => reloadEverything());
 *     await herald.connect();
 *     await herald.send({ user: 'bob' }, { text: 'hello' });
 *
 * It keeps the connection up, asks for what it missed, drops what it has seen, and repeats what was not answered under
 * the same key, so that nothing is lost and nothing is done twice. Where WebSockets are blocked, or where there are none
 * (Node 20), it takes `/events` and `/command` instead.
 */

/** How a command or a connection failed. `retry`: the same may succeed later; the outcome of a send is unknown. */
export class HeraldError extends Error {
  constructor(code, message, { retry = false, afterMs, closeCode, cause } = {}) {
    super(message || code, cause === undefined ? undefined : { cause });
    this.name = 'HeraldError';
    this.code = code;
    this.retry = retry;
    this.afterMs = afterMs;
    this.closeCode = closeCode;
  }
}

const SECOND = 1000;
const BACKOFF = { min: 0.5 * SECOND, max: 30 * SECOND };
/** A connection that stood for so long was good: the next failure is a first one. */
const STABLE = 5 * SECOND;
const CONNECT_DEADLINE = 15 * SECOND;
/** How long a sign of life may take once it has been asked for. */
const PONG = 10 * SECOND;
/** The same where the network may have changed: after sleep, or when the browser says so. */
const PONG_IN_DOUBT = 4 * SECOND;
const TICK = 5 * SECOND;
/** The server knows a key for at least 150 s. What was tried for longer might be done twice. */
const RETRY_WINDOW = 120 * SECOND;
const QUERY_TIMEOUT = 30 * SECOND;
const IN_FLIGHT = 32;
/** What a browser may hold back of ephemeral messages before more are refused. */
const BUFFERED = 1 << 20;
const PROBE = { after: 30 * SECOND, max: 600 * SECOND };
const LONGEST_TIMER = 2 ** 31 - 1;
const SAVE_EVERY = 0.5 * SECOND;

/** Full jitter: anything from 0 to a bound that doubles, so that those who were cut off together do not come back so. */
export function backoff(attempt, { min = BACKOFF.min, max = BACKOFF.max, random = Math.random } = {}) {
  return random() * Math.min(max, min * 2 ** Math.min(attempt, 30));
}

/**
 * What the end of a connection asks for: `{ stop }` with an error, or `{ delay }` before the next try, `renew` if that
 * needs a new token, `forget` if the cursor was not understood.
 */
export function decide(end, { attempt = 0, canRenew = false, fresh = false, hadCursor = false, random = Math.random, ...bounds } = {}) {
  const { code = 1006, status, reason = '', afterMs = 0 } = end;
  const stop = (name) => ({ stop: new HeraldError(name, reason || name, { closeCode: code }) });
  if (code === 4002 || code === 4100 || status === 401) {
    // A token that is refused though it has just been fetched will not be better next time.
    if (!canRenew || (fresh && code !== 4002)) return stop('unauthorized');
    return { renew: true, delay: attempt ? backoff(attempt, { random, ...bounds }) : 0 };
  }
  if ((code === 4104 || status === 400) && hadCursor) return { forget: true, delay: 0 };
  if (code >= 4100 && code < 4200) {
    return stop({ 4101: 'timeout', 4102: 'kicked', 4103: 'replaced', 4105: 'too_many_connections' }[code] || 'bad_request');
  }
  if (status === 400) return stop('bad_request');
  if (status === 403) return stop('forbidden');
  const floor = Math.max(afterMs, code === 4004 ? SECOND : 0);
  return { delay: floor + backoff(attempt, { random, ...bounds }) };
}

/** Splits a stream of Server-Sent Events, however it is cut, and calls `event(name, data)`. */
export function eventParser(event) {
  let rest = '';
  let name = '';
  let data = [];
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (data.length) event(name || 'message', data.join('\n'));
        name = '';
        data = [];
      } else if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
      else if (line.startsWith('event:')) name = line.slice(6).trim();
    }
  };
}

/** Stored messages of one target ascend, so the last one of each says what has been seen. */
export class Seen {
  #last = new Map();

  constructor(saved = []) {
    for (const [target, log, sequence] of saved) this.#last.set(target, { log, sequence });
  }

  /** Whether this is new, of which note is taken. */
  admit({ to, offset }) {
    if (!offset) return true; // not stored: given once
    const colon = offset.lastIndexOf(':');
    const log = offset.slice(0, colon);
    const sequence = Number(offset.slice(colon + 1));
    // Whatever stands in the own inbox is one order, copies of what was sent to others too.
    const target = to?.group !== undefined ? `g${to.group}` : to?.all ? 'a' : 'u';
    const last = this.#last.get(target);
    if (last && last.log === log && sequence <= last.sequence) return false;
    this.#last.set(target, { log, sequence });
    return true;
  }

  forget(group) {
    if (group === undefined) this.#last.clear();
    else this.#last.delete(`g${group}`);
  }

  toJSON() {
    return [...this.#last].map(([target, { log, sequence }]) => [target, log, sequence]);
  }
}

/** When a token ends, in Unix milliseconds; undefined where it cannot be read. The server verifies it, not this. */
export function expiry(token) {
  try {
    const claims = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const { exp } = JSON.parse(atob(claims));
    return typeof exp === 'number' ? exp * SECOND : undefined;
  } catch {
    return undefined;
  }
}

/** A connection over WebSocket. The token goes into the first frame: URLs end up in logs. */
class SocketLink {
  connected = false;
  opened = false;

  constructor(WebSocket, base, hello, on) {
    const url = new URL('ws', base);
    url.protocol = url.protocol.replace('http', 'ws');
    this.socket = new WebSocket(url.href, ['herald.v1.json']);
    this.socket.onopen = () => {
      this.opened = true;
      const { token, cursor, device } = hello;
      this.send({ id: hello.id, connect: { token, ...(cursor && { cursor }), ...(device && { device }) } });
    };
    this.socket.onmessage = ({ data }) => on.frame(this, data);
    this.socket.onclose = ({ code, reason }) => on.down(this, { code, reason });
    // A close should follow. In Node 20 none does where the upgrade is refused.
    this.socket.onerror = () => this.opened || later(() => on.down(this, { code: 1006 }), 0);
  }

  canPing = true;
  canWatch = true;

  get full() {
    return this.socket.bufferedAmount > BUFFERED;
  }

  send(command) {
    if (this.socket.readyState === 1) this.socket.send(JSON.stringify(command));
  }

  /** Nothing is heard of it any more: browsers may take minutes to give up a dead connection. */
  close() {
    const { socket } = this;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {};
    try {
      socket.close(1000);
    } catch {
      // Some implementations throw while they are connecting.
    }
  }
}

/** The same by Server-Sent Events, and a request for each command. `fetch` can send the token as a header. */
class EventsLink {
  connected = false;
  opened = false;
  full = false;
  canPing = false;
  /** Its URL says whom it watches. */
  canWatch = false;
  #abort = new AbortController();
  #end = {};

  constructor(fetch, base, hello, on) {
    this.fetch = fetch;
    this.base = base;
    this.token = hello.token;
    this.on = on;
    this.#read(hello);
  }

  async #read({ cursor, device, watch }) {
    const url = new URL('events', this.base);
    const add = (name, value) => value && url.searchParams.append(name, value);
    add('cursor', cursor);
    add('device', device);
    for (const user of watch) add('watch', user);
    let end;
    try {
      const response = await this.#request(url, { method: 'GET' });
      if (response.ok) {
        this.opened = true;
        await this.#events(response.body);
        end = this.#end;
      } else {
        const { error } = await body(response);
        end = { status: response.status, reason: error.message, afterMs: error.after_ms };
      }
    } catch (cause) {
      end = { code: 1006, reason: String(cause?.message || cause) };
    }
    if (!this.#abort.signal.aborted) this.on.down(this, end);
  }

  #request(url, options) {
    const headers = { Authorization: `Bearer ${this.token}` };
    return this.fetch(url.href, { cache: 'no-store', credentials: 'omit', headers, signal: this.#abort.signal, ...options });
  }

  async #events(stream) {
    const parse = eventParser((name, data) => {
      if (name === 'closed') this.#end = JSON.parse(data);
      else this.on.frame(this, data);
    });
    const reader = stream.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.#abort.signal.aborted) return;
      this.on.alive(this); // the server's pings are comments
      parse(decoder.decode(value, { stream: true }));
    }
  }

  async send(command) {
    let answer;
    try {
      answer = await body(await this.#request(new URL('command', this.base), { method: 'POST', body: JSON.stringify(command) }));
    } catch (cause) {
      answer = { error: { code: 'unavailable', message: String(cause?.message || cause), retry: true } };
    }
    if (!this.#abort.signal.aborted) this.on.answer(this, { ...answer, id: command.id });
  }

  close() {
    this.#abort.abort();
  }
}

/** What the server says, or what the status of a proxy's own page means. */
async function body(response) {
  const text = await response.text();
  let said;
  try {
    said = JSON.parse(text);
  } catch {
    // not Herald's words
  }
  if (response.ok && said) return said;
  const { status } = response;
  const after = Number(response.headers.get('retry-after')) * SECOND || undefined;
  if (said?.error) return { ...said, error: { ...said.error, after_ms: said.error.after_ms ?? after } };
  const retry = status === 429 || status >= 500 || response.ok;
  return { error: { code: status === 401 ? 'unauthorized' : retry ? 'unavailable' : 'bad_request', message: `HTTP ${status}`, retry, after_ms: after } };
}

/** The place that this file came from, which is a gateway's unless it was copied. */
function home() {
  const { protocol } = new URL(import.meta.url);
  return protocol.startsWith('http') ? import.meta.url : globalThis.location?.href;
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A timer's wait has 31 bits; a longer one would end at once. */
function later(what, delay) {
  return setTimeout(what, Math.min(delay, LONGEST_TIMER));
}

export class Herald {
  /** `idle`, `connecting`, `connected`, `waiting` (for the next try) or `closed`. */
  state = 'idle';
  /** Of the present connection, or the last: what the server said in `connected`. */
  connection = null;
  /** `websocket` or `events`; null while there is no connection. */
  transport = null;
  /** The groups that this user is in. */
  groups = new Set();

  #options;
  #base;
  #token = null;
  #fresh = false;
  #tokenExpires;
  #skew = 0;
  #cursor;
  #since;
  /** Of the own inbox, while what is kept of it is being read. */
  #held = null;
  #seen = new Seen();
  #loaded = false;
  #link = null;
  #turn = 0;
  #attempt = 0;
  #floor = 0;
  #id = 0;
  #commands = new Map();
  #lanes = new Map();
  #inFlight = 0;
  #pausedUntil = 0;
  #watched = new Set();
  #handlers = new Map();
  #timers = {};
  #heard = 0;
  #ticked = 0;
  #asked = 0;
  #socketFailed = 0;
  #byEvents = false;
  #probes = 0;
  #ready = null;
  #unlisten = [];

  /**
   * @param {object} options see `HeraldOptions` in herald.d.ts
   */
  constructor(options = {}) {
    const { url = home(), token, since, signal, cursor } = options;
    if (!url) throw new HeraldError('bad_request', 'a url is needed: this file was not loaded from a gateway');
    if (!token) throw new HeraldError('bad_request', 'a token is needed, or a function that fetches one');
    this.#base = new URL(url, globalThis.location?.href);
    this.#base.protocol = this.#base.protocol.replace(/^ws/, 'http');
    this.#base.search = this.#base.hash = '';
    this.#base.pathname = this.#base.pathname.replace(/\/(ws|herald\.js)$/, '/');
    if (!this.#base.pathname.endsWith('/')) this.#base.pathname += '/';
    this.#options = {
      transport: 'auto',
      maxQueue: 1000,
      fetch: globalThis.fetch?.bind(globalThis),
      WebSocket: globalThis.WebSocket,
      random: Math.random,
      ...options,
    };
    this.#since = since;
    this.#cursor = cursor;
    this.#token = typeof token === 'string' ? token : null;
    if (signal) {
      if (signal.aborted) this.close();
      else signal.addEventListener('abort', () => this.close(), { once: true });
    }
  }

  /** The cursor up to which everything has been given; undefined before the first connection. */
  get cursor() {
    return this.#cursor;
  }

  get user() {
    return this.connection?.user;
  }

  /** Commands that have no answer yet. */
  get unanswered() {
    return this.#commands.size;
  }

  /** Calls `handler` at each event of this name; the returned function ends that. */
  on(name, handler, { signal } = {}) {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
    const off = () => handlers.delete(handler);
    signal?.addEventListener('abort', off, { once: true });
    return off;
  }

  /** Resolves once connected, be it after many tries; rejects where there is no use in trying. */
  connect() {
    if (this.state === 'closed') return Promise.reject(new HeraldError('closed', 'this client was closed'));
    if (this.state === 'connected') return Promise.resolve(this.connection);
    if (!this.#ready) {
      this.#ready = deferred();
      this.#ready.promise.catch(() => {}); // `closed` tells those too who do not wait for this
    }
    if (this.state === 'idle') {
      this.#listen();
      this.#start();
    }
    return this.#ready.promise;
  }

  /** Goes offline and keeps everything: `connect` goes on where this stopped, and commands wait for it. */
  disconnect() {
    this.#suspend('idle', 'disconnect');
  }

  /** Ends for good: nothing is tried again, and what was not answered is rejected. */
  close() {
    this.#finish(new HeraldError('closed', 'this client was closed'), false);
  }

  /**
   * Sends to `{ user }`, `{ group }` or `{ all: true }`. Durable messages wait for a connection, are repeated under one
   * key until they are answered, and those of one target keep their order. Others are sent once, or refused at once.
   * `content` is whatever JSON can say, or bytes.
   */
  send(to, content, { kind, key, ttl, copy, contentType, durable = true, ...how } = {}) {
    const command = { to, ...asBody(content, contentType), kind, key: durable ? (key ?? randomKey()) : key, ttl, copy, durable };
    const lane = to.group !== undefined ? `g${to.group}` : to.all ? 'a' : `u${to.user}`;
    return this.#command('send', command, { ...how, ...(durable ? { lane, timeout: how.timeout ?? 0 } : { once: true, now: true }) });
  }

  join(group, how) {
    return this.#command('join', { group }, { ...how, lane: `g${group}` });
  }

  leave(group, how) {
    return this.#command('leave', { group }, { ...how, lane: `g${group}` });
  }

  /** Of `{ users }` or a `{ group }`: who is online now. */
  presence(of, how) {
    return this.#command('presence', Array.isArray(of) ? { users: of } : of, how);
  }

  /** From now on a `presence` event at each change, also after a reconnect; resolves with how it stands. */
  async watch(users, how) {
    const names = [...users];
    const before = this.#watched.size;
    for (const user of names) this.#watched.add(user);
    const link = this.#link;
    const states = await this.#command('watch', { users: names }, how);
    if (link && link === this.#link && !link.canWatch && this.#watched.size > before) this.#reopen();
    return states;
  }

  async unwatch(users, how) {
    const names = [...users];
    for (const user of names) this.#watched.delete(user);
    if (!this.#link?.connected) return;
    if (this.#link.canWatch) await this.#command('unwatch', { users: names }, { ...how, once: true });
    else this.#reopen();
  }

  /** One page, ascending, of `{ user: true }` (the own inbox), `{ group }` or `{ all: true }`; the newest unless told. */
  history(of, { after, before, limit, ...how } = {}) {
    return this.#command('history', { of, after, before, limit }, how);
  }

  /**
   * All messages of a history, one by one: with `after` onwards from there, else backwards from the newest.
   *
   *     for await (const message of herald.messages({ group: 'lobby' })) …
   */
  async *messages(of, { after, before, limit = 100, ...how } = {}) {
    const onwards = after !== undefined;
    for (;;) {
      const { messages, more } = await this.history(of, { after, before, limit, ...how });
      yield* onwards ? messages : [...messages].reverse();
      if (!more || !messages.length) return;
      if (onwards) after = messages.at(-1).offset;
      else before = messages[0].offset;
    }
  }

  /** Asks a service of the application. Never repeated by itself: the service may have done it. */
  async call(service, method, content, how) {
    const result = await this.#command('call', { service, method, ...asBody(content) }, { once: true, ...how });
    return withBytes(result).body;
  }

  // --- commands -------------------------------------------------------------------------------------------------

  #command(verb, content, { lane, timeout = QUERY_TIMEOUT, signal, once = false, now = false } = {}) {
    const refuse = (code, message, more) => Promise.reject(new HeraldError(code, message, more));
    if (this.state === 'closed') return refuse('closed', 'this client was closed');
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (now && this.state !== 'connected') return refuse('disconnected', 'not connected', { retry: true });
    if (this.#commands.size >= this.#options.maxQueue || (now && this.#link.full)) {
      return refuse('queue_full', 'too many commands wait for their answers', { retry: true });
    }
    const id = this.#nextId();
    const command = { id, verb, content, lane: lane ?? id, once, link: null, first: 0, tries: 0, ...deferred() };
    const give = (reason) => this.#settle(command, () => command.reject(reason));
    const aborted = () => give(signal.reason);
    command.cleanup = () => {
      clearTimeout(command.timer);
      clearTimeout(command.again);
      signal?.removeEventListener('abort', aborted);
    };
    signal?.addEventListener('abort', aborted, { once: true });
    if (timeout > 0) {
      const late = `no answer to ${verb} within ${timeout / SECOND} s`;
      command.timer = later(() => give(new HeraldError('timeout', late, { retry: true })), timeout);
    }
    this.#commands.set(id, command);
    const waiting = this.#lanes.get(command.lane);
    if (waiting) waiting.push(command);
    else this.#lanes.set(command.lane, [command]);
    this.#flush();
    return command.promise;
  }

  #nextId() {
    do this.#id = (this.#id % (2 ** 32 - 1)) + 1;
    while (this.#commands.has(this.#id));
    return this.#id;
  }

  /** The first of each lane is under way; the next one waits for its answer, or a retry would come behind it. */
  #flush() {
    if (this.state !== 'connected') return;
    const wait = this.#pausedUntil - Date.now();
    if (wait > 0) {
      this.#timer('flush', () => this.#flush(), wait);
      return;
    }
    for (const [command] of this.#lanes.values()) {
      if (this.#inFlight >= IN_FLIGHT) return;
      if (command.link || command.again) continue;
      command.link = this.#link;
      command.first ||= Date.now();
      if (command.verb !== 'call') this.#inFlight++; // calls may take minutes
      const verb = command.verb === 'watch' && !this.#link.canWatch ? 'presence' : command.verb;
      this.#link.send({ id: command.id, [verb]: command.content });
    }
  }

  #landed(command) {
    if (command.link && command.verb !== 'call') this.#inFlight--;
    command.link = null;
  }

  #settle(command, how) {
    if (!this.#commands.delete(command.id)) return;
    this.#landed(command);
    command.cleanup();
    const waiting = this.#lanes.get(command.lane);
    waiting.splice(waiting.indexOf(command), 1);
    if (!waiting.length) this.#lanes.delete(command.lane);
    how();
    this.#flush();
  }

  #answered(link, frame) {
    const command = this.#commands.get(frame.id);
    if (!command || command.link !== link) return;
    const { error } = frame;
    if (!error) {
      const { id, ...answer } = frame;
      const [value] = Object.values(answer);
      this.#note(command, value);
      this.#settle(command, () => command.resolve(value));
      return;
    }
    const failure = new HeraldError(error.code, error.message, { retry: error.retry, afterMs: error.after_ms });
    if (error.code === 'unauthorized' && !link.canPing && this.#canRenew() && !command.renewed) {
      // Of a request, not of the stream: the token that it was made with has ended meanwhile.
      command.renewed = true;
      this.#landed(command);
      this.#renew('expired').then((renewed) => (renewed ? this.#flush() : this.#settle(command, () => command.reject(failure))));
      return;
    }
    this.#failed(command, failure);
  }

  /** Repeated as long as that is sure to be done once. */
  #failed(command, failure) {
    const known = failure.code === 'rate_limited'; // it was not done
    const inTime = Date.now() - command.first < RETRY_WINDOW;
    if (!failure.retry || (command.once && !known) || !(known || inTime)) {
      this.#settle(command, () => command.reject(failure));
      return;
    }
    this.#landed(command);
    if (known) {
      command.first = 0;
      this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + (failure.afterMs ?? SECOND));
      this.#flush();
      return;
    }
    const wait = (failure.afterMs ?? 0) + backoff(command.tries++, this.#bounds());
    command.again = later(() => {
      command.again = undefined;
      this.#flush();
    }, wait);
  }

  #note({ verb, content }, value) {
    if (verb === 'join') this.groups.add(content.group);
    else if (verb === 'leave') this.#left(content.group);
    else if (verb === 'history') value.messages.forEach(withBytes);
    else if (verb === 'watch') this.#tellPresence(value.users);
  }

  #left(group) {
    this.groups.delete(group);
    this.#seen.forget(group);
  }

  /** The connection is gone: what it was to answer is sent again on the next one, unless that might be twice. */
  #recall(tooLarge) {
    const recalled = [...this.#commands.values()].filter((command) => command.link);
    if (tooLarge && recalled.length) {
      // It would end the next connection as well.
      const size = ({ content }) => JSON.stringify(content).length;
      const culprit = recalled.reduce((one, other) => (size(other) > size(one) ? other : one));
      this.#settle(culprit, () => culprit.reject(new HeraldError('too_large', 'larger than the server takes', { closeCode: 1009 })));
    }
    for (const command of recalled) {
      this.#landed(command);
      const late = Date.now() - command.first >= RETRY_WINDOW;
      const lost = () => command.reject(new HeraldError('unavailable', 'the connection was lost before the answer came', { retry: true }));
      if (command.once || late) this.#settle(command, lost);
    }
  }

  // --- the connection -------------------------------------------------------------------------------------------

  async #start() {
    const turn = ++this.#turn;
    clearTimeout(this.#timers.retry);
    this.#enter('connecting');
    try {
      await this.#load();
      await this.#fetchToken(this.#token ? 'expired' : 'connect', !this.#tokenIsGood());
    } catch (cause) {
      if (turn === this.#turn) this.#noToken(cause);
      return;
    }
    if (turn !== this.#turn) return;
    const { WebSocket, fetch, transport } = this.#options;
    const byEvents = transport === 'events' || !WebSocket || (transport === 'auto' && this.#byEvents);
    if (byEvents ? !fetch : !WebSocket) {
      this.#finish(new HeraldError('unsupported', `there is no ${byEvents ? 'fetch' : 'WebSocket'} here`), true);
      return;
    }
    const hello = { id: this.#nextId(), token: this.#token, cursor: this.#cursor, device: this.#options.device, watch: this.#watched };
    const on = {
      frame: (link, text) => link === this.#link && this.#frame(link, text),
      answer: (link, frame) => link === this.#link && this.#answered(link, frame),
      alive: (link) => link === this.#link && this.#alive(),
      down: (link, end) => link === this.#link && this.#down(end),
    };
    try {
      this.#link = byEvents ? new EventsLink(fetch, this.#base, hello, on) : new SocketLink(WebSocket, this.#base, hello, on);
    } catch (cause) {
      this.#finish(new HeraldError('bad_request', cause.message, { cause }), true);
      return;
    }
    this.#link.hadCursor = Boolean(this.#cursor);
    this.#timer('deadline', () => this.#down({ code: 1006, reason: 'no connection in time', hung: true }), CONNECT_DEADLINE);
  }

  #frame(link, text) {
    this.#alive();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // what no version of Herald sends
    }
    if (frame.message) this.#message(frame.message);
    else if (frame.connected) this.#connected(link, frame.connected);
    // Why a connection is refused is said before it is closed.
    else if (frame.error && !link.connected) link.error = frame.error;
    else if (frame.id) this.#answered(link, frame);
    else if (frame.cursor) this.#moveCursor(frame.cursor);
    else if (frame.presence) this.#emit('presence', frame.presence);
    else if (frame.watching) this.#tellPresence(frame.watching.users);
    else if (frame.group) this.#groupChanged(frame.group);
    else if (frame.notice) this.#noticed(frame.notice);
  }

  #connected(link, connected) {
    link.connected = true;
    link.since = Date.now();
    clearTimeout(this.#timers.deadline);
    this.connection = connected;
    this.transport = link instanceof EventsLink ? 'events' : 'websocket';
    this.groups = new Set(connected.groups);
    this.#fresh = false;
    this.#skew = connected.time - Date.now();
    this.#timer('stable', () => (this.#attempt = 0), STABLE);
    if (link instanceof SocketLink) this.#socketFailed = this.#probes = 0;
    else this.#probeLater();
    this.#renewLater(connected.expires * SECOND);
    this.#watchOver(link, connected.ping * SECOND);
    const gap = connected.gap || (link.hadCursor && !connected.resumed);
    if (link.hadCursor && !connected.resumed) this.#seen.forget();
    this.#moveCursor(connected.cursor);
    if (this.#since === 'start' && !link.hadCursor) this.#readInbox();
    this.#since = undefined;
    this.#enter('connected', { resumed: connected.resumed });
    if (gap) this.#emit('gap', { reason: connected.resumed ? 'trimmed' : 'not resumed' });
    if (link instanceof SocketLink && this.#watched.size) {
      this.#command('watch', { users: [...this.#watched] }).catch((error) => this.#emit('error', error));
    }
    const ready = this.#ready;
    this.#ready = null;
    ready?.resolve(connected);
    this.#flush();
  }

  #message(message) {
    if (this.#held && message.to.group === undefined && !message.to.all) this.#held.push(message);
    else if (this.#seen.admit(message)) {
      this.#emit('message', withBytes(message));
      if (message.offset) this.#save();
    }
  }

  #moveCursor(cursor) {
    this.#cursor = cursor;
    this.#save();
  }

  /**
   * All that is kept of the own inbox, before anything that has come since. Not by the server's `since=start`: should the
   * connection end before the first cursor comes, that leaves a choice between the inbox's past and the groups' present.
   */
  async #readInbox() {
    this.#held = [];
    const kept = [];
    try {
      for await (const message of this.messages({ user: true }, { limit: 1000, timeout: 0 })) kept.push(message);
    } catch (error) {
      if (this.state === 'closed') return;
      this.#emit('error', error);
    }
    const all = [...kept.reverse(), ...this.#held];
    this.#held = null;
    for (const message of all) this.#message(message);
  }

  #tellPresence(users) {
    for (const [user, state] of Object.entries(users)) this.#emit('presence', { user, ...state });
  }

  #groupChanged(change) {
    if (change.joined) this.groups.add(change.group);
    else this.#left(change.group);
    this.#emit('group', change);
  }

  #noticed(notice) {
    if (notice.code === 'gap') {
      this.#seen.forget();
      this.#emit('gap', { reason: 'notice', message: notice.message });
    } else if (notice.code === 'reconnect') this.#floor = notice.after_ms ?? 0;
    this.#emit('notice', notice);
  }

  /** The connection has ended, or is given up. */
  #down(end) {
    const link = this.#link;
    const { connected } = link;
    this.#drop(end.code);
    this.#turn++;
    this.#rest();
    if (!end.reason && link.error) end.reason = link.error.message;
    end.afterMs = Math.max(end.afterMs ?? 0, link.error?.after_ms ?? 0, this.#floor);
    this.#floor = 0;
    this.#chooseTransport(link, end);
    const next = decide(end, {
      attempt: this.#attempt,
      canRenew: this.#canRenew(),
      fresh: this.#fresh,
      hadCursor: link.hadCursor && !connected,
      ...this.#bounds(),
    });
    if (next.stop) {
      this.#finish(next.stop, true);
      return;
    }
    if (next.renew) this.#token = null;
    if (next.forget) {
      this.#cursor = undefined;
      this.#seen.forget();
      this.#emit('gap', { reason: 'cursor not understood' });
    }
    this.#wait(next.delay, end);
  }

  /** Twice no WebSocket, or one that hangs: a proxy may be in its way. Where the other way fails too, it is the network. */
  #chooseTransport(link, { code = 1006, status = 999, hung }) {
    const told = code >= 4000 || [400, 401, 403, 429].includes(status); // by a gateway, which was reached
    if (link.connected || this.#options.transport !== 'auto' || told) return;
    if (link instanceof EventsLink) {
      this.#byEvents = false;
      this.#socketFailed = 1;
    } else if (++this.#socketFailed >= 2 || hung) this.#byEvents = Boolean(this.#options.fetch);
  }

  /** Whether WebSockets pass again: another network, or it was the gateway that was away. */
  #probeLater() {
    const { WebSocket, transport } = this.#options;
    if (transport !== 'auto' || !WebSocket) return;
    const wait = Math.min(PROBE.max, (this.#options.probeAfter ?? PROBE.after) * 2 ** this.#probes++);
    this.#timer('probe', () => {
      const url = new URL('ws', this.#base);
      url.protocol = url.protocol.replace('http', 'ws');
      const probe = new WebSocket(url.href, ['herald.v1.json']);
      const again = () => {
        probe.onclose = null;
        probe.onerror = () => {};
        if (this.transport === 'events') this.#probeLater();
      };
      probe.onerror = probe.onclose = again;
      probe.onopen = () => {
        probe.onclose = null;
        probe.onerror = () => {};
        probe.close(1000);
        this.#byEvents = false;
        if (this.transport === 'events') this.#reopen();
      };
    }, wait);
  }

  /** The same once more: what comes meanwhile is asked for by cursor. */
  #reopen() {
    if (!this.#link) return;
    this.#timer('reopen', () => {
      if (!this.#link) return;
      this.#drop();
      this.#rest();
      this.#start();
    }, 0);
  }

  #wait(delay, { code, reason }) {
    this.#attempt++;
    this.#enter('waiting', { code, reason, delay });
    this.#timer('retry', () => this.#start(), delay);
  }

  #drop(code) {
    const link = this.#link;
    this.#link = null;
    this.transport = null;
    link?.close();
    if (link) this.state = 'waiting'; // before what is recalled could be flushed again
    this.#recall(code === 1009);
  }

  /** Timers that make sense only with a connection. */
  #rest() {
    for (const name of ['deadline', 'stable', 'renew', 'probe', 'flush', 'reopen']) clearTimeout(this.#timers[name]);
    clearInterval(this.#timers.tick);
  }

  #finish(error, unwanted) {
    if (this.state === 'closed') return;
    this.#turn++;
    this.#drop();
    this.#clearTimers();
    this.#rest();
    this.#save(true);
    for (const off of this.#unlisten) off();
    this.#enter('closed', { reason: error.message, code: error.closeCode, error: unwanted ? error : undefined });
    for (const command of [...this.#commands.values()]) this.#settle(command, () => command.reject(error));
    this.#ready?.reject(error);
    this.#ready = null;
    this.#emit('closed', unwanted ? error : undefined);
  }

  // --- signs of life --------------------------------------------------------------------------------------------

  #alive() {
    this.#heard = Date.now();
    this.#asked = 0;
  }

  /** Scripts do not see a WebSocket's pings, so that they must ask by themselves. */
  #watchOver(link, ping) {
    this.#heard = this.#ticked = Date.now();
    this.#asked = 0;
    link.quiet = link.canPing ? PONG : ping + PONG;
    clearInterval(this.#timers.tick);
    this.#timers.tick = setInterval(() => {
      if (link !== this.#link) return;
      const now = Date.now();
      const slept = now - this.#ticked > TICK + PONG;
      this.#ticked = now;
      // Timers of tabs in the background are late as well, but those hear what comes.
      if (slept && now - this.#heard > ping) this.#doubt();
      else if (now - this.#heard > ping + PONG) this.#dead();
      else if (now - this.#heard > ping && link.canPing && !this.#asked) this.#ask(PONG);
    }, TICK);
  }

  /** The network may not be what it was. */
  #doubt() {
    if (this.state !== 'connected') return;
    if (this.#link.canPing) this.#ask(PONG_IN_DOUBT);
    else this.#reopen();
  }

  #ask(patience) {
    const asked = (this.#asked = Date.now());
    const link = this.#link;
    link.send({ id: this.#nextId(), ping: {} });
    this.#timer('pong', () => this.#link === link && this.#asked === asked && this.#dead(), patience);
  }

  #dead() {
    this.#down({ code: 1006, reason: 'the server is silent' });
  }

  #listen() {
    if (this.#unlisten.length || typeof addEventListener !== 'function') return;
    const listen = (target, name, handler) => {
      target.addEventListener(name, handler);
      this.#unlisten.push(() => target.removeEventListener(name, handler));
    };
    listen(globalThis, 'online', () => {
      this.#emit('online');
      this.#hurry();
    });
    listen(globalThis, 'offline', () => {
      this.#emit('offline');
      this.#doubt();
    });
    // A page that is kept for `back` is not there for anybody.
    listen(globalThis, 'pagehide', () => this.#suspend('waiting', 'the page is hidden'));
    listen(globalThis, 'pageshow', ({ persisted }) => persisted && this.#hurry());
    const page = globalThis.document;
    if (page) listen(page, 'visibilitychange', () => page.visibilityState === 'visible' && this.#hurry());
  }

  /** No connection and no tries, until somebody wants them. */
  #suspend(state, reason) {
    if (this.state === 'idle' || this.state === 'closed') return;
    this.#drop();
    this.#turn++;
    this.#save(true);
    this.#clearTimers();
    this.#rest();
    this.#enter(state, { reason });
  }

  /** Somebody looks: wait no longer, and trust no silence. */
  #hurry() {
    if (this.state === 'waiting') this.#start();
    else if (this.state === 'connected' && Date.now() - this.#heard > this.#link.quiet) this.#doubt();
  }

  // --- tokens ---------------------------------------------------------------------------------------------------

  #canRenew() {
    return typeof this.#options.token === 'function';
  }

  #tokenIsGood() {
    if (!this.#token) return false;
    const ends = expiry(this.#token);
    return !this.#canRenew() || !ends || ends - (Date.now() + this.#skew) > 5 * SECOND;
  }

  async #fetchToken(reason, needed) {
    if (!needed) return;
    const { token } = this.#options;
    const fetched = this.#canRenew() ? await token({ reason }) : token;
    if (typeof fetched !== 'string' || !fetched) throw new HeraldError('unauthorized', 'no token was given');
    this.#token = fetched;
    this.#fresh = true;
  }

  #noToken(cause) {
    if (cause instanceof HeraldError && !cause.retry) {
      this.#finish(cause, true);
      return;
    }
    const delay = (cause?.afterMs ?? 0) + backoff(this.#attempt, this.#bounds());
    this.#emit('error', cause);
    this.#wait(delay, { reason: `no token: ${cause?.message ?? cause}` });
  }

  /** Some time before its end, by the server's clock; not all clients at once. */
  #renewLater(expires) {
    this.#tokenExpires = expires;
    if (!this.#canRenew()) return;
    const left = expires - (Date.now() + this.#skew);
    const early = Math.min(60 * SECOND, left * 0.2) * (1 + this.#options.random());
    this.#timer('renew', () => (left > LONGEST_TIMER ? this.#renewLater(expires) : this.#renew('renew')), Math.max(0, left - early));
  }

  /** Whether there is a new one in use. What fails here is tried again, or else when the old one has ended. */
  async #renew(reason) {
    const link = this.#link;
    try {
      await this.#fetchToken(reason, true);
      if (link !== this.#link) return true;
      if (link.canWatch) {
        const { expires } = await this.#command('refresh', { token: this.#token }, { lane: 'refresh', once: true });
        this.#renewLater(expires * SECOND);
      } else {
        // A stream ends with the token that it was opened with. Requests take the new one at once.
        link.token = this.#token;
        this.#reopen();
      }
      this.#fresh = false;
      return true;
    } catch (error) {
      if (link !== this.#link) return false;
      this.#emit('error', error);
      const left = this.#tokenExpires - (Date.now() + this.#skew);
      if (left > SECOND) this.#timer('renew', () => this.#renew('renew'), Math.max(SECOND, left / 4));
      return false;
    }
  }

  // --- small things ---------------------------------------------------------------------------------------------

  async #load() {
    if (this.#loaded) return;
    this.#loaded = true;
    let saved;
    try {
      saved = await this.#options.storage?.load?.();
    } catch (error) {
      this.#emit('error', error);
    }
    if (!saved?.cursor || this.#cursor) return;
    this.#cursor = saved.cursor;
    this.#seen = new Seen(saved.seen);
  }

  /** Not at each message: what is lost by that is seen a second time. */
  #save(atOnce = false) {
    const { storage } = this.#options;
    // What is held has not been given, though a cursor may be past it.
    if (!storage?.save || !this.#cursor || this.#held) return;
    const save = async () => {
      clearTimeout(this.#timers.save);
      this.#timers.save = undefined;
      try {
        await storage.save({ cursor: this.#cursor, seen: this.#seen.toJSON() });
      } catch (error) {
        this.#emit('error', error);
      }
    };
    if (atOnce) save();
    else this.#timers.save ??= later(save, SAVE_EVERY);
  }

  #enter(state, detail = {}) {
    this.state = state;
    this.#emit('state', { state, ...detail });
  }

  /** A handler that throws is the page's own bug: reported as such, and nobody else's business. */
  #emit(name, value) {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      try {
        handler(value);
      } catch (error) {
        if (typeof reportError === 'function') reportError(error);
        else queueMicrotask(() => { throw error; });
      }
    }
  }

  #bounds() {
    const { random, backoff: { min, max } = BACKOFF } = this.#options;
    return { random, min, max };
  }

  #timer(name, what, delay) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = later(what, delay);
  }

  #clearTimers() {
    for (const name of Object.keys(this.#timers)) clearTimeout(this.#timers[name]);
    this.#timers = {};
  }
}

function deferred() {
  let resolve, reject;
  const promise = new Promise((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
}

/** Bytes go in base64, all else as JSON. */
function asBody(content, contentType) {
  const isBytes = content instanceof ArrayBuffer || ArrayBuffer.isView(content);
  if (!isBytes) return { body: content };
  const bytes = content instanceof ArrayBuffer ? new Uint8Array(content) : new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  return { body_base64: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')), content_type: contentType };
}

/** A body that is no JSON comes in base64. */
function withBytes(message) {
  if (message.body_base64 !== undefined) message.body = Uint8Array.from(atob(message.body_base64), (c) => c.charCodeAt(0));
  return message;
}
