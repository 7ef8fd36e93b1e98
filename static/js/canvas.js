// Small charts without axes on <canvas>: lines (`data-s`) and bars (`data-b`). A character is a point; `_` is a gap.
import { $, $$, clamp, el, ink } from './dom.js';
import { clock } from './format.js';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const TOP = LETTERS.length - 1;

// 0–100 in 64 steps.
const unpack = text => [...text].map(c => (c === '_' ? null : LETTERS.indexOf(c) / TOP * 100));
export const pack = points =>
  points.map(v => (v == null ? '_' : LETTERS[Math.round(clamp(v, 0, 100) / 100 * TOP)])).join('');

// The canvas's context, as sharp as the screen, and its size.
export function fit(canvas) {
  const ratio = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  if (canvas.width !== Math.round(w * ratio)) canvas.width = Math.round(w * ratio);
  if (canvas.height !== Math.round(h * ratio)) canvas.height = Math.round(h * ratio);
  const x = canvas.getContext('2d');
  x.setTransform(ratio, 0, 0, ratio, 0, 0);
  x.clearRect(0, 0, w, h);
  return [x, w, h];
}

// The indexes of the values between two gaps.
export function runs(values) {
  const out = [];
  let run;
  values.forEach((value, i) => {
    if (value == null) run = null;
    else if (run) run.push(i);
    else out.push(run = [i]);
  });
  return out;
}

export const path = (x, run, at) => {
  x.beginPath();
  run.forEach((i, n) => x[n ? 'lineTo' : 'moveTo'](...at(i)));
};

export function spark(canvas) {
  const points = unpack(canvas.dataset.s), known = points.filter(v => v != null), last = points.length - 1;
  const [x, w, h] = fit(canvas);
  if (!known.length) return;
  const colour = getComputedStyle(canvas).color, top = Math.max(...known, 8) * 1.12;
  const left = i => 1 + i / last * (w - 4), up = v => h - 1.5 - v / top * (h - 4);
  x.strokeStyle = x.fillStyle = colour;
  x.lineWidth = 1.4;
  x.lineJoin = 'round';
  for (const run of runs(points)) {
    path(x, run, i => [left(i), up(points[i])]);
    x.stroke();
    x.lineTo(left(run.at(-1)), h);
    x.lineTo(left(run[0]), h);
    x.globalAlpha = .13;
    x.fill();
    x.globalAlpha = 1;
  }
  if (points[last] == null) return;
  x.beginPath();
  x.arc(left(last), up(points[last]), 1.9, 0, 7);
  x.fill();
}

// How many, per slot; up to three stacked states, worst at the bottom. Slot `at` is lit.
function bars(canvas, at) {
  const states = counts(canvas), slots = states[0].length;
  const [x, w, h] = fit(canvas);
  const colours = (canvas.dataset.c || 'c1').split(' ').map(name => ink(canvas.parentNode, name));
  const base = ink(canvas.parentNode, 'line');
  const sums = states[0].map((_, i) => states.reduce((sum, state) => sum + (state[i] || 0), 0));
  const top = Math.max(4, ...sums), gap = slots > 60 ? 1 : 2, width = (w + gap) / slots - gap;
  for (let i = 0; i < slots; i++) {
    const left = i * (width + gap);
    x.fillStyle = base;
    if (i === at) x.fillRect(left - 1, 0, width + 2, h);
    x.fillRect(left, h - 1.5, width, 1.5);
    let y = h;
    states.forEach((state, k) => {
      if (!state[i]) return;
      const height = Math.max(2, state[i] / top * (h - 2)), parted = k < states.length - 1 && states[k + 1][i];
      x.fillStyle = colours[k];
      x.fillRect(left, y - height, width, height - (parted ? 1 : 0));
      y -= height;
    });
  }
}
const counts = canvas =>
  canvas.dataset.b.split('|').map(state => [...state].map(c => (c === '_' ? null : LETTERS.indexOf(c))));

// Bars with a time axis are read by mouse and keys.
function withTip(canvas) {
  const tip = $('#tip'), from = Date.parse(canvas.dataset.t0), step = +canvas.dataset.dt * 1000;
  const names = canvas.dataset.n.split('|'), slots = () => counts(canvas)[0].length;
  let at = null;
  const go = i => {
    at = i;
    bars(canvas, i);
    tip.hidden = i == null;
    if (i == null) return;
    const span = `${clock(from + i * step)} – ${clock(from + (i + 1) * step)}`;
    tip.replaceChildren(el('b', {}, span), ...names.map((name, k) => el('small', {}, `${name}: ${counts(canvas)[k][i]}`)));
    const box = canvas.getBoundingClientRect(), left = box.left + (i + .5) / slots() * box.width + 10;
    tip.style.left = Math.min(innerWidth - tip.offsetWidth - 8, left) + 'px';
    tip.style.top = box.top - tip.offsetHeight - 4 + 'px';
  };
  canvas.tabIndex = 0;
  canvas.setAttribute('role', 'img');
  canvas.addEventListener('pointermove', e => {
    const box = canvas.getBoundingClientRect();
    go(clamp(Math.floor((e.clientX - box.left) / box.width * slots()), 0, slots() - 1));
  });
  canvas.addEventListener('pointerleave', () => go(null));
  canvas.addEventListener('blur', () => go(null));
  canvas.addEventListener('keydown', e => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!by) return;
    e.preventDefault();
    go(clamp((at ?? slots()) + by, 0, slots() - 1));
  });
}

const paint = () => {
  for (const canvas of $$('canvas[data-b]')) bars(canvas);
};
const repaint = () => {
  for (const canvas of $$('canvas[data-s]')) spark(canvas);
  paint();
};
let resizing;
addEventListener('resize', () => {
  clearTimeout(resizing);
  resizing = setTimeout(repaint, 120);
});
addEventListener('theme', repaint);
for (const canvas of $$('canvas[data-b][data-t0]')) withTip(canvas);
paint();

// Lines are drawn when they come into sight: there are hundreds.
const sight = new IntersectionObserver(entries => {
  for (const entry of entries.filter(entry => entry.isIntersecting)) {
    spark(entry.target);
    sight.unobserve(entry.target);
  }
}, { rootMargin: '200px' });
for (const canvas of $$('canvas[data-s]')) sight.observe(canvas);
