/** A real Chromium, driven by its DevTools protocol over a pipe: no driver, no packages. */

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PATIENCE = 30_000;

export class Chromium {
  #child;
  #folder;
  #id = 0;
  #waiting = new Map();
  #sessions = new Map();

  static async start(binary) {
    const chromium = new Chromium();
    chromium.#folder = await mkdtemp(join(tmpdir(), 'herald-chromium-'));
    const root = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const flags = ['--headless=new', '--remote-debugging-pipe', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking', '--disable-component-update'];
    chromium.#child = spawn(binary, [...flags, ...root, `--user-data-dir=${chromium.#folder}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    let rest = '';
    chromium.#child.stdio[4].setEncoding('utf8').on('data', (data) => {
      const messages = (rest + data).split('\0');
      rest = messages.pop();
      for (const message of messages) chromium.#received(JSON.parse(message));
    });
    const ended = () => {
      for (const { reject } of chromium.#waiting.values()) reject(new Error('Chromium has ended'));
    };
    chromium.#child.on('error', ended).on('exit', ended);
    await chromium.send('Browser.getVersion');
    return chromium;
  }

  #received({ id, sessionId, method, params, result, error }) {
    if (id === undefined) {
      this.#sessions.get(sessionId)?.(method, params);
      return;
    }
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) reject(new Error(error.message));
    else resolve(result);
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  /** A page of its own, which shares nothing with the others. */
  async page(url, { width = 1280, height = 800, dark = false } = {}) {
    const { browserContextId } = await this.send('Target.createBrowserContext');
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page((method, params) => this.send(method, params, sessionId));
    this.#sessions.set(sessionId, (method, params) => page.heard(method, params));
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`);
    await page.look(width, height, dark);
    await page.open(url);
    return page;
  }

  async close() {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    await this.send('Browser.close').catch(() => this.#child.kill('SIGKILL'));
    await gone;
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Page {
  /** What the console was told of: errors, exceptions, violations of the policy. */
  complaints = [];
  dialogs = [];

  constructor(send) {
    this.send = send;
  }

  heard(method, params) {
    if (method === 'Runtime.exceptionThrown') this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type)) {
      this.complaints.push(params.args.map((argument) => argument.value ?? argument.description).join(' '));
    }
    if (method === 'Log.entryAdded' && ['error', 'warning'].includes(params.entry.level)) {
      this.complaints.push(`${params.entry.source}: ${params.entry.text} ${params.entry.url ?? ''}`);
    }
    if (method === 'Page.javascriptDialogOpening') {
      this.dialogs.push(params.message);
      this.send('Page.handleJavaScriptDialog', { accept: true });
    }
  }

  async look(width, height, dark) {
    await this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
    await this.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
  }

  async open(url) {
    const { errorText } = await this.send('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await this.until('the page is there', () => document.readyState === 'complete');
  }

  /** Runs a function of the page with these arguments. By the debugger: the page's own policy does not bind it. */
  async run(what, ...given) {
    const expression = `(${what})(${given.map((one) => JSON.stringify(one)).join(',')})`;
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async until(name, what, ...given) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      const value = await this.run(what, ...given).catch((error) => {
        if (!/context|navigat/i.test(error.message)) throw error; // between two pages
      });
      if (value) return value;
      if (Date.now() > end) {
        const shown = await this.run(() => document.body.innerText);
        throw new Error(`never came: ${name}\n--- the page shows\n${shown}\n--- and says\n${this.complaints.join('\n')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Types as a keyboard does, into what has the focus after a click there. */
  async type(selector, text) {
    await this.run((of) => document.querySelector(of).focus(), selector);
    await this.send('Input.insertText', { text });
  }

  async press(key, code = key, text = undefined) {
    const keys = { key, code, text, windowsVirtualKeyCode: { Enter: 13, Tab: 9, ' ': 32, Escape: 27 }[key] };
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...keys });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...keys });
  }

  enter = () => this.press('Enter', 'Enter', '\r');

  /** Clicks in the middle of it, where it must be what is seen. */
  async click(selector) {
    const spot = await this.run((of) => {
      const found = document.querySelector(of);
      if (!found) throw new Error(`no ${of}`);
      found.scrollIntoView({ block: 'center' });
      const { x, y, width, height } = found.getBoundingClientRect();
      const at = { x: x + width / 2, y: y + height / 2 };
      const top = document.elementFromPoint(at.x, at.y);
      if (!found.contains(top)) throw new Error(`${of} is covered by ${top?.outerHTML.slice(0, 80)}`);
      return at;
    }, selector);
    for (const type of ['mousePressed', 'mouseReleased']) {
      await this.send('Input.dispatchMouseEvent', { type, ...spot, button: 'left', clickCount: 1 });
    }
  }

  async screenshot() {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data, 'base64');
  }
}
