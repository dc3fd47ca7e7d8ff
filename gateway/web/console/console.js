/** The console: one node's metrics each second, and what the server API tells of the cluster. */

import { key, keyIsGood } from './api.js';
import { $ } from './dom.js';
import * as groups from './groups.js';
import * as live from './live.js';
import * as nodes from './nodes.js';
import * as send from './send.js';
import * as users from './users.js';

const LOOK = 1000;
const ASK = 1000;

/** Again and again, never twice at once, and not while nobody looks. */
async function every(period, what) {
  for (;;) {
    if (document.visibilityState === 'visible') await what();
    await new Promise((resolve) => setTimeout(resolve, period));
  }
}

function open() {
  $('entrance').hidden = true;
  $('app').hidden = false;
  for (const panel of [live, users, groups, send]) panel.begin();
  every(LOOK, live.look);
  // Each by itself: a node that does not answer keeps the list of nodes waiting, and nothing else.
  for (const panel of [nodes, users, groups]) every(ASK, panel.refresh);
}

async function enter() {
  try {
    if (await keyIsGood()) {
      open();
      return;
    }
    $('sign-in-error').textContent = 'This is no API key of this gateway.';
  } catch (error) {
    $('sign-in-error').textContent = error.message;
  }
  key.forget();
  $('entrance').hidden = false;
  $('key').focus();
}

$('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  key.set($('key').value);
  $('key').value = '';
  enter();
});

$('forget').addEventListener('click', () => {
  key.forget();
  location.reload();
});

if (key.get()) enter();
else {
  $('entrance').hidden = false;
  $('key').focus();
}
