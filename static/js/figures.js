// The charts of a page: lines of an answer of the API on canvases, for the period that is chosen.
import { $, $$, el, put, svg } from './dom.js';
import { t } from './words.js';
import { api, rethrow } from './api.js';
import { charts } from './chart.js';
import { unit } from './format.js';

const KEYS_MAX = 3; // so many lines are told apart
const DASHES = [null, '5 3', '2 3'];
export const periods = $('[data-periods]');
let path, marks = [];

// What happened, for the time axis: `{ at, name }` each.
export const mark = events => { marks = events; };

// Which series a chart shows: those it names, or the fullest of a kind (`disk:*`).
function seriesOf(figure, all) {
  const names = figure.dataset.series;
  if (!names.endsWith('*')) return names.split(' ');
  const prefix = names.slice(0, -1), last = series => series.points.at(-1)?.[1] ?? -1;
  const fits = all.filter(series => series.key.startsWith(prefix)).sort((a, b) => last(b) - last(a));
  return fits.length ? fits.slice(0, KEYS_MAX).map(series => series.key) : [prefix];
}

// Their names are known only now: they go into the caption, each with its dash.
function nameSeries(figure, names) {
  for (const old of $$('.key', figure)) old.remove();
  if (names.length < 2) return;
  $('figcaption', figure).append(...names.map((name, k) => {
    const stroke = { d: 'M0 4h20', stroke: 'currentColor', 'stroke-width': '2' };
    if (DASHES[k]) stroke['stroke-dasharray'] = DASHES[k];
    const picture = svg('svg', { viewBox: '0 0 20 8', 'aria-hidden': 'true' }, svg('path', stroke));
    return el('span', { cls: `key k${k + 1}` }, picture, name);
  }));
}

// Polls are further apart than the chart's steps: what lies between two that belong together is no gap.
function bridge(line, reach) {
  let last = -1;
  for (let i = 0; i <= line.length; i++) {
    const within = i < line.length;
    if (within && line[i] == null) continue;
    if (last >= 0 && i - last <= reach) {
      const slope = within ? (line[i] - line[last]) / (i - last) : 0;
      for (let k = last + 1; k < i; k++) line[k] = line[last] + slope * (k - last);
    }
    last = i;
  }
}

// Points `[at, average, lowest, highest]` on the chart's steps. Polls further apart than `gap` have a gap between them,
// closer ones have not.
function onSteps(points, { from, dt, steps, gap, reach }) {
  const lines = [1, 2, 3].map(() => Array(steps).fill(null));
  let last = -1, before = 0;
  for (const [at, ...values] of points) {
    const i = Math.round((at - from) / dt);
    if (i < 0 || i >= steps) continue;
    const joined = last >= 0 && at - before <= gap;
    lines.forEach((line, n) => {
      if (joined) line.fill(line[last], last + 1, Math.max(i, last + 1));
      line[i] = values[n];
    });
    last = i;
    before = at;
  }
  for (const line of lines) bridge(line, reach);
  return lines;
}

const ms = time => (typeof time === 'string' ? Date.parse(time) : time);

function draw(answer) {
  for (const note of $$('[data-far]')) {
    note.hidden = !answer[note.dataset.far];
    if (answer.notice) put($('span', note), answer.notice);
  }
  const from = ms(answer.from), dt = answer.step_s * 1000;
  const grid = {
    from, dt,
    steps: Math.max(2, Math.round((ms(answer.to) - from) / dt)),
    gap: 2 * 1000 * Math.max(answer.step_s, answer.interval_s || 0),
    reach: Math.max(1, Math.ceil(2.5 * answer.interval_s * 1000 / dt)),
  };
  for (const figure of $$('figure.chart')) drawChart(figure, answer, grid);
}

function drawChart(figure, answer, grid) {
  const byKey = new Map(answer.series.map(series => [series.key, series]));
  const names = seriesOf(figure, answer.series), title = $('b', figure).textContent;
  const averaged = answer.period !== '1h';
  const series = names.map((key, n) => {
    const [v, lo, hi] = onSteps(byKey.get(key)?.points || [], grid);
    const name = t.series[key] || (key.startsWith('disk:') ? key.slice(5) : title);
    return { name, v, ...(averaged && n === 0 ? { lo, hi } : {}) };
  });
  if (figure.dataset.series.endsWith('*')) nameSeries(figure, series.map(s => s.name));
  const starts = names.flatMap(key => byKey.get(key)?.points.slice(0, 1).map(point => point[0]) ?? []);
  const first = Math.min(...starts), late = Number.isFinite(first) && first > grid.from + grid.dt * 2;
  const of = figure.dataset.unit;
  if (figure.dataset.now != null) {
    put($('.now', figure), unit(series[0]?.v.slice(-grid.reach - 1).findLast(Number.isFinite), of));
  }
  const scale = { t0: grid.from, dt: grid.dt, unit: of, max: of === '%' && figure.dataset.open == null ? 100 : 0 };
  charts.get(figure.id).set({ ...scale, series, marks, since: late ? first : 0 });
}

// Draws what this answers for the chosen period, now and whenever another is chosen.
export async function load(from) {
  path = from;
  try {
    const period = `period=${$('[aria-current]', periods).dataset.v}`;
    draw(await api(path + (path.includes('?') ? '&' : '?') + period));
  } catch (e) {
    rethrow(e);
  }
}

periods?.addEventListener('click', e => {
  const chosen = e.target.closest('a');
  if (!chosen) return;
  e.preventDefault();
  for (const a of $$('a', periods)) {
    if (a === chosen) a.setAttribute('aria-current', 'true');
    else a.removeAttribute('aria-current');
  }
  history.replaceState(null, '', chosen.href);
  if (path) load(path);
});
