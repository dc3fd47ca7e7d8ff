/** Types of herald.js. What the fields mean stands in PROTOCOL and README of Herald. */

/** A user, a group, or everybody. */
export type Target = { user: string } | { group: string } | { all: true };
/** Whose history: the own inbox, a group, or the broadcasts. */
export type HistoryOf = { user: true } | { group: string } | { all: true };

export type ErrorCode =
  | 'bad_request' | 'unauthorized' | 'forbidden' | 'not_found' | 'too_large' | 'rate_limited' | 'timeout' | 'unavailable'
  | 'unsupported' | 'internal'
  /** Of the client itself. */
  | 'closed' | 'disconnected' | 'queue_full' | 'kicked' | 'replaced' | 'too_many_connections';

export class HeraldError extends Error {
  constructor(code: ErrorCode, message?: string, more?: { retry?: boolean; afterMs?: number; closeCode?: number; cause?: unknown });
  readonly code: ErrorCode;
  /** The same may succeed later. Of a send: it is not known whether it was done, so repeat it with its `key`. */
  readonly retry: boolean;
  readonly afterMs?: number;
  /** Where a connection's end is the reason. */
  readonly closeCode?: number;
}

export interface Message<Body = any> {
  id: string;
  /** Missing where the application itself sent it. */
  from?: string;
  to: Target;
  kind?: string;
  /** JSON, or bytes where the sender gave bytes. */
  body: Body | Uint8Array;
  content_type?: string;
  /** Unix milliseconds. */
  time: number;
  /** Missing where it is not stored. */
  offset?: string;
}

export interface Connected {
  user: string;
  connection: string;
  node: string;
  groups: string[];
  cursor: string;
  resumed: boolean;
  gap: boolean;
  /** Seconds. */
  ping: number;
  /** Unix seconds. */
  expires: number;
  /** The server's clock, Unix milliseconds. */
  time: number;
}

export interface Sent {
  id?: string;
  offset?: string;
  online?: boolean;
  duplicate: boolean;
  time?: number;
}

export interface Presence {
  online: boolean;
  connections?: number;
  since?: number;
  last_seen?: number;
}

export type State = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closed';

export interface StateChange {
  state: State;
  /** Of `connected`. */
  resumed?: boolean;
  /** Why the connection ended: its close code and text. */
  code?: number;
  reason?: string;
  /** Of `waiting`: milliseconds until the next try. */
  delay?: number;
  /** Of `closed`, where it was not asked for. */
  error?: HeraldError;
}

/** The events and what their handlers get. */
export interface Events {
  message: Message;
  presence: { user: string } & Presence;
  group: { group: string; joined: boolean };
  /** Messages may be gone for good: load the state from the application. */
  gap: { reason: string; message?: string };
  notice: { code: string; message?: string; after_ms?: number };
  state: StateChange;
  /** Something failed that is tried again by itself, or that the application's own callbacks threw. */
  error: unknown;
  /** With an error where the server wants this client no more. */
  closed: HeraldError | undefined;
  /** The browser's. */
  online: undefined;
  offline: undefined;
}

/** Where a client has come to, to go on from after a reload. */
export interface Saved {
  cursor: string;
  seen: [target: string, log: string, sequence: number][];
}

export interface HeraldOptions {
  /** A gateway or its balancer, with http(s) or ws(s). Where this file was loaded from, unless told. */
  url?: string | URL;
  /**
   * A token, or a function that fetches one: at the first connect, some time before the present one ends (`renew`), and
   * when it has ended or was refused (`expired`). One that throws is asked again later; one that throws a `HeraldError`
   * without `retry`, or gives nothing, ends the client.
   */
  token: string | ((why: { reason: 'connect' | 'renew' | 'expired' }) => string | Promise<string>);
  /** A name of this device; see `one_connection_per_device`. */
  device?: string;
  /** Go on from here. */
  cursor?: string;
  /** Without a cursor: first all that is kept of the own inbox, read into memory page by page. */
  since?: 'start';
  /** Keeps the cursor over a reload. Saved at most twice a second: what came since comes a second time. */
  storage?: { load?(): Saved | null | undefined | Promise<Saved | null | undefined>; save?(saved: Saved): void | Promise<void> };
  /** `auto`: WebSocket, and Server-Sent Events with requests where that is blocked or missing. */
  transport?: 'auto' | 'websocket' | 'events';
  /** Milliseconds until a WebSocket is tried again where it was blocked: 30,000 unless told, doubled each time. */
  probeAfter?: number;
  /** Commands that may wait for their answers: 1000 unless told. */
  maxQueue?: number;
  /** Milliseconds between tries: random below a bound that doubles from `min` (500) to `max` (30,000). */
  backoff?: { min: number; max: number };
  /** Ends the client for good. */
  signal?: AbortSignal;
  /** Another implementation, such as that of the package `ws` for Node 20. */
  WebSocket?: new (url: string, protocols: string[]) => any;
  fetch?: typeof fetch;
  random?: () => number;
}

/** Of a command: how long it may take, and what gives it up. What has been sent may still be done. */
export interface How {
  /** Milliseconds; 30,000 unless told, and 0, without end, for durable sends. */
  timeout?: number;
  signal?: AbortSignal;
}

export interface SendOptions extends How {
  kind?: string;
  /** Stored before it is answered: true unless told. */
  durable?: boolean;
  /** Makes repeats known; made up unless told. */
  key?: string;
  /** Seconds. */
  ttl?: number;
  /** Of a one-to-one message: into the own inbox too, for the other devices. */
  copy?: boolean;
  /** Of bytes: `application/octet-stream` unless told. */
  contentType?: string;
}

export interface HistoryOptions extends How {
  after?: string;
  before?: string;
  /** Messages of a page, 1 to 1000. */
  limit?: number;
}

export class Herald {
  constructor(options: HeraldOptions);
  readonly state: State;
  readonly transport: 'websocket' | 'events' | null;
  readonly connection: Connected | null;
  readonly user: string | undefined;
  readonly cursor: string | undefined;
  readonly groups: ReadonlySet<string>;
  readonly unanswered: number;
  on<Name extends keyof Events>(name: Name, handler: (event: Events[Name]) => void, options?: { signal?: AbortSignal }): () => void;
  connect(): Promise<Connected>;
  disconnect(): void;
  close(): void;
  /** `body`: whatever JSON can say, or bytes (an `ArrayBuffer`, a typed array). */
  send(to: Target, body: unknown, options?: SendOptions): Promise<Sent>;
  join(group: string, how?: How): Promise<{ group: string }>;
  leave(group: string, how?: How): Promise<{ group: string }>;
  presence(of: string[] | { group: string }, how?: How): Promise<{ users: Record<string, Presence>; online?: number; members?: number }>;
  watch(users: Iterable<string>, how?: How): Promise<{ users: Record<string, Presence> }>;
  unwatch(users: Iterable<string>, how?: How): Promise<void>;
  history(of: HistoryOf, options?: HistoryOptions): Promise<{ messages: Message[]; more: boolean; gap: boolean }>;
  messages(of: HistoryOf, options?: HistoryOptions): AsyncGenerator<Message, void, undefined>;
  call(service: string, method: string | undefined, body: unknown, how?: How): Promise<any>;
}

/** The parts that decide, without a clock or a network. */
export function backoff(attempt: number, bounds?: { min?: number; max?: number; random?: () => number }): number;
export function decide(
  end: { code?: number; status?: number; reason?: string; afterMs?: number },
  circumstances?: { attempt?: number; canRenew?: boolean; fresh?: boolean; hadCursor?: boolean; random?: () => number; min?: number; max?: number },
): { stop?: HeraldError; delay?: number; renew?: boolean; forget?: boolean };
export function eventParser(event: (name: string, data: string) => void): (text: string) => void;
export function expiry(token: string): number | undefined;
export class Seen {
  constructor(saved?: Saved['seen']);
  admit(message: Pick<Message, 'to' | 'offset'>): boolean;
  forget(group?: string): void;
  toJSON(): Saved['seen'];
}
