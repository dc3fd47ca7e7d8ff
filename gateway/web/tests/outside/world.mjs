/** The real servers that tests/tests/web_client.rs has started, and what stands between them and a client. */

import { once } from 'node:events';
import { request, createServer } from 'node:http';
import net from 'node:net';
import { createInterface } from 'node:readline';

import { Herald } from '../../herald.js';

const { HERALD_PUBLIC, HERALD_ADMIN, HERALD_API_KEY } = process.env;
export const PUBLIC = `http://${HERALD_PUBLIC}`;
const PATIENCE = 30_000;

/** Both ways to connect, as far as this Node has them. */
export const TRANSPORTS = globalThis.WebSocket ? ['websocket', 'events'] : ['events'];

/** Asks the harness to do something to the servers, and waits until it has. */
export async function ask(what) {
  const lines = createInterface({ input: process.stdin });
  console.log(`ask: ${what}`);
  const [answer] = await once(lines, 'line');
  lines.close();
  process.stdin.pause();
  return answer;
}

export async function tokenOf(user, ttl = 3600) {
  const answer = await fetch(`${PUBLIC}/dev/token?${new URLSearchParams({ user, ttl })}`, { method: 'POST' });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return (await answer.json()).token;
}

export async function api(method, path, body) {
  const headers = { Authorization: `Bearer ${HERALD_API_KEY}` };
  const answer = await fetch(`http://${HERALD_ADMIN}/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** A client that is closed with its test, and everything that it has told. */
export function client(t, user, options = {}) {
  const herald = new Herald({ url: PUBLIC, token: () => tokenOf(user), ...options });
  const events = { message: [], presence: [], group: [], gap: [], state: [], error: [], closed: [] };
  for (const name of Object.keys(events)) herald.on(name, (event) => events[name].push(event));
  t.after(() => herald.close());
  return { herald, events, bodies: () => events.message.map(({ body }) => body) };
}

export async function until(what, holds) {
  const end = Date.now() + PATIENCE;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A proxy of requests, as some companies have them, that knows no WebSockets until it is told to let them pass. */
export async function forwarder(t) {
  const target = new URL(PUBLIC);
  const state = { upgrades: 0, passes: false };
  const server = createServer((incoming, answer) => {
    const { method, url: path, headers } = incoming;
    const out = request({ host: target.hostname, port: target.port, method, path, headers }, (reply) => {
      answer.writeHead(reply.statusCode, reply.headers);
      reply.pipe(answer);
    });
    out.on('error', () => answer.destroy());
    answer.on('close', () => out.destroy());
    incoming.pipe(out);
  });
  server.on('upgrade', ({ method, url, rawHeaders }, socket, head) => {
    state.upgrades++;
    if (!state.passes) {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      return;
    }
    const out = net.connect(target.port, target.hostname);
    const lines = rawHeaders.reduce((text, word, i) => text + word + (i % 2 ? '\r\n' : ': '), '');
    out.write(`${method} ${url} HTTP/1.1\r\n${lines}\r\n`);
    out.write(head);
    for (const [one, other] of [[socket, out], [out, socket]]) one.on('error', () => {}).on('close', () => other.destroy()).pipe(other);
  });
  return Object.assign(state, { url: await listening(t, server) });
}

/** A cable that can be pulled out: nothing passes, and what passed is gone without a word. */
export async function cable(t, to = PUBLIC) {
  const target = new URL(to);
  const open = new Set();
  const state = { cut: false };
  const server = net.createServer((socket) => {
    if (state.cut) {
      socket.destroy();
      return;
    }
    const out = net.connect(target.port, target.hostname);
    for (const [one, other] of [[socket, out], [out, socket]]) {
      open.add(one);
      one.on('error', () => {}).on('close', () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  state.pull = () => {
    state.cut = true;
    for (const socket of open) socket.destroy();
  };
  state.plug = () => {
    state.cut = false;
  };
  return Object.assign(state, { url: await listening(t, server) });
}

async function listening(t, server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections?.();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}
