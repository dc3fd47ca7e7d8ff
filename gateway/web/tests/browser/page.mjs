/** What the tests of both pages share. */

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before } from 'node:test';

import { Chromium } from './chromium.mjs';

export const HOSTILE = '<img src=x onerror="alert(1)">';
const { HERALD_SHOTS, CHROMIUM = 'chromium' } = process.env;

/** One browser for a file of tests. */
export function browser() {
  const holder = {};
  before(async () => (holder.chromium = await Chromium.start(CHROMIUM)));
  after(() => holder.chromium?.close());
  return holder;
}

/** Nothing was refused by the policy, nothing failed, nothing popped up. `expected`: what a test has caused itself. */
export function assertQuiet(page, expected = /^$/) {
  assert.deepEqual(page.complaints.filter((complaint) => !expected.test(complaint)), []);
  assert.deepEqual(page.dialogs, []);
}

const LOOKS = [[1280, 800, false], [1280, 800, true], [360, 740, false], [360, 740, true]];

/** Light and dark, wide and narrow: nothing sticks out, everything can be read. Kept as pictures in $HERALD_SHOTS. */
export async function assertLooksGood(page, name) {
  for (const [width, height, dark] of LOOKS) {
    const look = `${name}-${width}-${dark ? 'dark' : 'light'}`;
    await page.look(width, height, dark);
    const { wide, faint } = await page.run(inspect);
    assert.ok(wide <= width, `${look}: ${wide} px wide`);
    assert.deepEqual(faint, [], look);
    if (HERALD_SHOTS) {
      await mkdir(HERALD_SHOTS, { recursive: true });
      await writeFile(join(HERALD_SHOTS, `${look}.png`), await page.screenshot());
    }
  }
  await page.look(1280, 800, false);
}

/** Runs in the page: how wide it is, and which texts have a contrast below 4.5 (WCAG 2.1, AA). */
function inspect() {
  const rgba = (color) => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => value * a + below[i] * (1 - a));
  const luminance = (color) => {
    const [r, g, b] = color.map((value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const below = element.parentElement ? ground(element.parentElement) : [255, 255, 255];
    return over(rgba(getComputedStyle(element).backgroundColor), below);
  };
  const opacity = (element) => (element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1);
  const faint = [];
  for (const element of document.body.querySelectorAll('*')) {
    const texts = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!texts || element.closest('noscript, svg') || !element.checkVisibility({ visibilityProperty: true })) continue;
    const behind = ground(element);
    const [r, g, b, a] = rgba(getComputedStyle(element).color);
    const [light, dark] = [luminance(over([r, g, b, a * opacity(element)], behind)), luminance(behind)].sort((one, other) => other - one);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) faint.push(`${element.tagName}.${element.className} "${element.textContent.slice(0, 30)}" ${contrast.toFixed(2)}`);
  }
  return { wide: document.scrollingElement.scrollWidth, faint };
}
