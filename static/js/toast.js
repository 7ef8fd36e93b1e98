// Says what happened, at the foot of the page; what failed stays until it is closed.
import { $, el } from './dom.js';
import { t } from './words.js';

const SHOWN_MS = 6000, SHOWN_MAX = 3;

export function toast(text, { kind = 'ok', ms = SHOWN_MS } = {}) {
  const box = $('#toasts');
  if (!box) return;
  const close = el('button', { cls: 'btn quiet sm', type: 'button', onclick: () => note.remove() }, t.close);
  const note = el('div', { cls: 'toast' }, el('i', { cls: 'g s-' + kind }), el('span', {}, text), close);
  box.append(note);
  if (kind !== 'fail') vanish(note, ms);
  while (box.children.length > SHOWN_MAX) box.firstChild.remove();
}

// Not while the mouse is over it.
function vanish(note, ms) {
  let left = ms, since, timer;
  const run = () => {
    since = Date.now();
    timer = setTimeout(() => note.remove(), left);
  };
  note.onmouseenter = () => {
    clearTimeout(timer);
    left -= Date.now() - since;
  };
  note.onmouseleave = run;
  run();
}
