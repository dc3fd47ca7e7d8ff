/** The server API and the metrics of this node. */

const KEY = 'herald-api-key';
const PATIENCE = 10_000;

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** This gateway does not have the call at all. */
  get missing() {
    return this.status === 404 && this.message === 'no such call';
  }
}

/** For as long as the tab, and nowhere else. */
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { cache: 'no-store', credentials: 'omit', redirect: 'error', signal: AbortSignal.timeout(PATIENCE), ...options });
  } catch {
    throw new ApiError(0, 'unavailable', 'this node does not answer');
  }
  return { status: answer.status, ok: answer.ok, text: await answer.text() };
}

/** `path` beneath /api/v1, each segment of it encoded by `path`. */
export async function call(method, path, body) {
  // However they are encoded, browsers take these for the folder itself and the one above.
  if (path.split('?')[0].split('/').some((segment) => segment === '.' || segment === '..')) {
    throw new ApiError(0, 'bad_request', 'A browser cannot ask for one of this name; curl --path-as-is can.');
  }
  const { status, ok, text } = await ask(`api/v1/${path}`, {
    method,
    headers: { Authorization: `Bearer ${key.get()}`, ...(body && { 'Content-Type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  let said = {};
  try {
    said = JSON.parse(text);
  } catch {
    // an answer of no gateway
  }
  if (ok) return said;
  throw new ApiError(status, said.error?.code ?? 'internal', said.error?.message ?? `HTTP ${status}`);
}

/** `path`users/${name}`` */
export function path(parts, ...values) {
  return String.raw({ raw: parts }, ...values.map(encodeURIComponent));
}

/** Whether the key is one at all; it may be limited to some calls. */
export async function keyIsGood() {
  try {
    await call('POST', 'presence', { users: ['herald-console'] });
    return true;
  } catch (error) {
    if (error.code === 'unauthorized') return false;
    if (error.code === 'forbidden') return true;
    throw error;
  }
}

export const metricsText = async () => (await ask('metrics')).text;

export async function readiness() {
  const { ok, text } = await ask('health/ready');
  return { ready: ok, why: text.trim() };
}
