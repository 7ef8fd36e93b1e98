// Area charts on <canvas>. Axis from zero for shares, gaps stay gaps, a band from lowest to highest where the points are
// averages, every chart readable by keyboard and as a table.
import { $, $$, clamp, el, html, ink } from './dom.js';
import { clock, clockDay, clockSeconds, local, unit } from './format.js';
import { t } from './words.js';
import { fit, path, runs } from './canvas.js';

const MINUTE = 60e3, DAY = 864e5;
// Series are told apart by dash as well as by colour.
const DASHES = [[], [5, 3], [1.5, 3]];
// Steps of the time axis, in minutes.
const TICKS = [5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 10080, 20160, 43200, 131040];
const MARKS_TOLD = 4;
const BELOW = 18, ABOVE = 6, RIGHT = 4; // room around the drawing, in pixels

// A round step of which `parts` reach `top`.
function roundStep(top, parts) {
  const raw = top / parts, power = 10 ** Math.floor(Math.log10(raw)), digit = raw / power;
  return (digit > 5 ? 10 : digit > 2 ? 5 : digit > 1 ? 2 : 1) * power;
}

function summary(series, of) {
  const known = series.v.filter(v => v != null);
  if (!known.length) return `${series.name}: ${t.nodata}`;
  const mean = known.reduce((sum, v) => sum + v, 0) / known.length;
  const [low, average, high] = [Math.min(...known), mean, Math.max(...known)].map(v => unit(v, of));
  return `${series.name}: ${t.min} ${low}, ${t.avg} ${average}, ${t.max} ${high}`;
}

const groups = new Map(); // charts that share a crosshair

class Chart {
  // data: { t0, dt, unit, max?, since?, marks?: [{ at, name }], series: [{ name, v: […], lo?, hi? }] }
  constructor(figure) {
    this.figure = figure;
    this.canvas = $('canvas', figure);
    this.tip = el('div', { cls: 'ct', hidden: true });
    figure.append(this.tip);
    this.group = figure.dataset.sync || Math.random();
    if (!groups.has(this.group)) groups.set(this.group, new Set());
    groups.get(this.group).add(this);
    this.listen();
  }

  listen() {
    const canvas = this.canvas;
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'img');
    const point = e => this.hoverAll(this.index(e.clientX - canvas.getBoundingClientRect().left));
    for (const name of ['pointermove', 'pointerdown']) canvas.addEventListener(name, point);
    for (const name of ['pointerleave', 'blur']) canvas.addEventListener(name, () => this.hoverAll(null));
    canvas.addEventListener('keydown', e => this.key(e));
    new ResizeObserver(() => this.draw()).observe(canvas);
    addEventListener('theme', () => {
      this.palette = null;
      this.draw();
    });
  }

  key(e) {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[e.key], last = this.count - 1;
    if (by) {
      e.preventDefault();
      this.hoverAll(clamp((this.at ?? last) + by, 0, last));
    } else if (e.key === 'Home') this.hoverAll(0);
    else if (e.key === 'End') this.hoverAll(last);
    else if (e.key === 'Escape') this.hoverAll(null);
  }

  set(data) {
    this.data = data;
    this.count = data.series[0].v.length;
    this.palette = null;
    const told = data.series.map(series => summary(series, data.unit));
    this.canvas.setAttribute('aria-label', `${$('b', this.figure)?.textContent || ''}. ${told.join('; ')}`);
    this.draw();
  }

  // The value of now, kept while the crosshair shows another.
  tell(text) {
    const now = $('.now', this.figure);
    now.dataset.v = text;
    if (this.at == null) now.textContent = text;
  }

  index(px) {
    return clamp(Math.round((px - this.box.left) / this.box.width * (this.count - 1)), 0, this.count - 1);
  }

  hoverAll(i) {
    for (const chart of groups.get(this.group)) chart.hover(i, chart === this);
  }

  // The pointed chart gets the box, the others only tell in their caption.
  hover(i, own) {
    if (!this.data) return;
    const now = $('.now', this.figure);
    this.at = i;
    this.draw();
    this.tip.hidden = i == null || !own;
    now.dataset.v ??= now.textContent;
    now.textContent = i == null ? now.dataset.v : unit(this.data.series[0].v[i], this.data.unit);
    if (i != null && own) this.showTip(i);
  }

  showTip(i) {
    const { t0, dt, unit: of, series } = this.data, at = t0 + i * dt;
    const value = s => {
      if (s.v[i] == null) return t.nodata;
      return unit(s.v[i], of) + (s.hi ? ` (${unit(s.lo[i], of)} … ${unit(s.hi[i], of)})` : '');
    };
    const row = (s, k) => el('div', {}, el('span', { cls: 'k' + (k + 1) }, s.name), el('span', {}, value(s)));
    const title = dt * this.count > DAY ? clockDay(at) : clockSeconds(at);
    const happened = this.marked(i).map(mark => el('div', {}, el('span', {}, `▲ ${mark.name}`), el('span', {}, clockSeconds(mark.at))));
    this.tip.replaceChildren(el('b', {}, title), ...series.map(row), ...happened);
    const x = this.box.left + i / (this.count - 1) * this.box.width, width = this.tip.offsetWidth;
    const left = x + width + 18 > this.canvas.clientWidth ? x - width - 12 : x + 12;
    this.tip.style.left = this.canvas.offsetLeft + left + 'px';
    this.tip.style.top = this.canvas.offsetTop + 8 + 'px';
  }

  // What happened about there: within some pixels of the pointed place.
  marked(i) {
    const { t0, dt, marks = [] } = this.data, reach = Math.max(dt, 5 / this.box.width * dt * this.count);
    return marks.filter(mark => Math.abs(mark.at - t0 - i * dt) <= reach).slice(0, MARKS_TOLD);
  }

  colours() {
    const of = name => ink(this.figure, name);
    return this.palette ||= {
      line: of('line'), text: of('ink-3'), ink: of('ink'), series: [of('c1'), of('c2'), of('c3')], surface: of('surface'),
      mark: of('flick'),
    };
  }

  draw() {
    if (!this.data || !this.canvas.clientWidth) return;
    const [x, w, h] = fit(this.canvas);
    this.x = x;
    x.font = `11px ${getComputedStyle(html).getPropertyValue('--f-ui')}`;
    x.textBaseline = 'middle';
    this.scale(w, h);
    this.drawValues(w);
    this.drawTimes(w, h);
    this.drawGaps();
    this.drawMarks();
    this.data.series.forEach((series, k) => this.drawSeries(series, k));
    if (this.at != null) this.drawCrosshair();
  }

  // Where values and times are: `box` and `labels`.
  scale(w, h) {
    const { max, unit: of, series } = this.data;
    const least = of === 'B/s' ? 1000 : of ? 1 : .2;
    let top = max || Math.max(least, ...series.flatMap(s => (s.hi || s.v).filter(v => v != null)), 0) * 1.08;
    const step = max === 100 ? 25 : roundStep(top, 3);
    if (!max) top = Math.ceil(top / step) * step;
    this.labels = [];
    for (let v = 0; v <= top + step / 9; v += step) this.labels.push(v);
    const left = Math.max(...this.labels.map(v => this.x.measureText(unit(v, of)).width)) + 8;
    this.box = { left, width: w - left - RIGHT, height: h - BELOW - ABOVE, bottom: h - BELOW, top };
  }

  across(i) {
    return this.box.left + i / (this.count - 1) * this.box.width;
  }

  up(value) {
    return this.box.bottom - Math.min(value, this.box.top) / this.box.top * this.box.height;
  }

  line(x1, y1, x2, y2) {
    this.x.beginPath();
    this.x.moveTo(x1, y1);
    this.x.lineTo(x2, y2);
    this.x.stroke();
  }

  drawValues(w) {
    const x = this.x, colours = this.colours(), of = this.data.unit;
    x.lineWidth = 1;
    x.textAlign = 'right';
    for (const value of this.labels) {
      const y = Math.round(this.up(value)) + .5;
      x.strokeStyle = colours.line;
      x.globalAlpha = value ? .6 : 1;
      this.line(this.box.left, y, w - RIGHT, y);
      x.globalAlpha = 1;
      x.fillStyle = colours.text;
      const text = of === '%' ? value + ' %' : unit(value, of).replace(/[.,]0+(?=\s|$)/, '');
      x.fillText(text, this.box.left - 6, Math.max(6, this.up(value)));
    }
  }

  // Round steps of time by the reader's clocks; a day and a time need more room.
  drawTimes(w, h) {
    const { t0, dt } = this.data, { left, width, bottom } = this.box;
    const x = this.x, colours = this.colours(), span = dt * (this.count - 1);
    const room = span > DAY && span <= 3 * DAY ? 96 : 56;
    const steps = TICKS.map(minutes => minutes * MINUTE);
    const step = steps.find(s => span / s <= Math.max(2, width / room)) || steps.at(-1);
    x.textAlign = 'center';
    const ahead = at => local(at) - Math.floor(at / 1e3) * 1e3;
    for (let wall = Math.ceil(local(t0) / step) * step; ; wall += step) {
      const at = wall - ahead(wall - ahead(t0));
      if (at > t0 + span) break;
      const px = left + (at - t0) / span * width;
      if (px < left + 12 || px > w - 18) continue;
      x.fillStyle = colours.text;
      x.fillText(clock(at, span), px, h - 7);
      x.strokeStyle = colours.line;
      this.line(px + .5, bottom, px + .5, bottom + 3);
    }
  }

  // ▲ on the axis where something happened.
  drawMarks() {
    const x = this.x, { t0, dt, marks = [] } = this.data, span = dt * (this.count - 1), { left, width, bottom } = this.box;
    x.fillStyle = this.colours().mark;
    for (const { at } of marks) {
      if (at < t0 || at > t0 + span) continue;
      const px = left + (at - t0) / span * width;
      x.beginPath();
      x.moveTo(px, bottom - 6);
      x.lineTo(px - 4, bottom + 1);
      x.lineTo(px + 4, bottom + 1);
      x.fill();
    }
  }

  // Gaps of the first series: hatched and named.
  drawGaps() {
    const values = this.data.series[0].v;
    let first = -1;
    for (let i = 0; i <= this.count; i++) {
      const gap = i < this.count && values[i] == null;
      if (gap && first < 0) first = i;
      if (gap || first < 0) continue;
      this.drawGap(first, i);
      first = -1;
    }
  }

  drawGap(first, after) {
    const x = this.x, colours = this.colours(), { bottom, height } = this.box, top = bottom - height;
    const from = this.across(Math.max(0, first - 1)), to = this.across(Math.min(this.count - 1, after));
    x.save();
    x.beginPath();
    x.rect(from, top, to - from, height);
    x.clip();
    x.strokeStyle = colours.line;
    for (let px = from - height; px < to; px += 6) this.line(px, bottom, px + height, top);
    x.restore();
    const { since, dt } = this.data, span = dt * (this.count - 1);
    const text = first === 0 && since ? `${t.from} ${clock(since, span > DAY ? span : 0)}` : t.nodata;
    const width = x.measureText(text).width;
    if (to - from <= width + 12) return;
    const middle = (from + to) / 2, y = top + height / 2;
    x.fillStyle = colours.surface;
    x.fillRect(middle - width / 2 - 5, y - 9, width + 10, 18);
    x.fillStyle = colours.text;
    x.fillText(text, middle, y);
  }

  drawSeries(series, k) {
    const x = this.x, colour = this.colours().series[k];
    const fill = alpha => {
      x.globalAlpha = alpha;
      x.fillStyle = colour;
      x.fill();
      x.globalAlpha = 1;
    };
    for (const run of runs(series.v)) {
      if (series.hi) {
        path(x, run, i => [this.across(i), this.up(series.hi[i])]);
        for (const i of [...run].reverse()) x.lineTo(this.across(i), this.up(series.lo[i]));
        fill(.16);
      }
      path(x, run, i => [this.across(i), this.up(series.v[i])]);
      x.setLineDash(DASHES[k]);
      x.strokeStyle = colour;
      x.lineWidth = 1.5;
      x.lineJoin = 'round';
      x.stroke();
      x.setLineDash([]);
      if (k || series.hi) continue;
      x.lineTo(this.across(run.at(-1)), this.box.bottom);
      x.lineTo(this.across(run[0]), this.box.bottom);
      fill(.12);
    }
  }

  drawCrosshair() {
    const x = this.x, colours = this.colours(), { bottom, height } = this.box, px = this.across(this.at);
    x.strokeStyle = colours.ink;
    x.lineWidth = 1;
    x.globalAlpha = .55;
    this.line(Math.round(px) + .5, bottom - height, Math.round(px) + .5, bottom);
    x.globalAlpha = 1;
    this.data.series.forEach((series, k) => {
      if (series.v[this.at] == null) return;
      x.beginPath();
      x.arc(px, this.up(series.v[this.at]), 3, 0, 7);
      x.fillStyle = colours.series[k];
      x.fill();
      x.strokeStyle = colours.surface;
      x.lineWidth = 1.5;
      x.stroke();
    });
  }

  // The same numbers as rows, on demand.
  table() {
    const { t0, dt, unit: of, series } = this.data, table = el('table');
    const head = [t.table, ...series.map(s => s.name)];
    table.createTHead().insertRow().append(...head.map(name => el('th', {}, name)));
    const body = table.createTBody(), step = Math.max(1, Math.ceil(this.count / 60));
    for (let i = 0; i < this.count; i += step) {
      const row = body.insertRow();
      row.insertCell().textContent = clockDay(t0 + i * dt);
      for (const s of series) row.insertCell().textContent = unit(s.v[i], of);
    }
    return table;
  }
}

export const charts = new Map($$('figure.chart').map(figure => [figure.id, new Chart(figure)]));

for (const button of $$('[data-astable]')) {
  button.addEventListener('click', () => {
    const on = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', on);
    for (const figure of $$('figure.chart', button.closest('section'))) {
      $('.as', figure)?.remove();
      figure.classList.toggle('tab', on);
      if (on) figure.append(el('div', { cls: 'as', tabIndex: 0 }, charts.get(figure.id).table()));
    }
  });
}
