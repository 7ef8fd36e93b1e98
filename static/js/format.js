// Numbers with their units, times and ages, as the language writes them. One clock: the server's.
import { html } from './dom.js';
import { t } from './words.js';

const SECOND = 1000, HOUR = 3600 * SECOND, DAY = 24 * HOUR;

// `data-now` is when the page was made.
const skew = html.dataset.now ? Date.parse(html.dataset.now) - Date.now() : 0;
export const now = () => Date.now() + skew;

// 'age' is "27 min", 'ago' is "27 min ago".
export function ago(ms, mode) {
  const s = Math.max(0, Math.round(Math.abs(ms) / SECOND));
  const [seconds, minutes, hours, days] = t.u;
  const age = s < 90 ? `${s}\u00a0${seconds}`
    : s < 5400 ? `${Math.round(s / 60)}\u00a0${minutes}`
    : s < 172800 ? `${Math.round(s / 3600)}\u00a0${hours}`
    : `${num(Math.round(s / 86400))}\u00a0${days}`;
  return mode === 'ago' ? `${age} ${t.ago}` : age;
}

export const num = (value, digits = 0) =>
  value.toLocaleString(html.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits });

export function unit(value, of) {
  if (value == null) return '–';
  if (of === '%') return num(value, value < 9.95 ? 1 : 0) + '\u00a0%';
  if (of === 'B/s') return rate(value);
  if (of === 'B') return size(value);
  return num(value, value < 10 ? 2 : 1) + (of ? '\u00a0' + of : '');
}

function size(value) {
  let step = 0;
  while (value >= 1024 && step < 4) {
    value /= 1024;
    step++;
  }
  return num(value, value < 10 && step ? 1 : 0) + '\u00a0' + t.size[step];
}

function rate(value) {
  let step = 0;
  while (value >= 1000 && step < 3) {
    value /= 1000;
    step++;
  }
  return num(value, value < 10 && step ? 1 : 0) + '\u00a0' + t.rate[step];
}

// The reader's zone, as the page's own times have it; one that this browser does not know is shown as UTC.
const known = timeZone => {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
    return timeZone;
  } catch {
    return 'UTC';
  }
};
const zone = known(html.dataset.tz || 'UTC');
const format = options => new Intl.DateTimeFormat(html.lang, { hourCycle: 'h23', timeZone: zone, ...options });
const time = format({ hour: '2-digit', minute: '2-digit' });
const second = format({ hour: '2-digit', minute: '2-digit', second: '2-digit' });
const date = format({ day: 'numeric', month: 'short' });
const moment = format({ day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

// What the reader's clocks show at an instant, as the instant when clocks in UTC show the same.
const digits = Object.fromEntries(['year', 'month', 'day', 'hour', 'minute', 'second'].map(name => [name, 'numeric']));
const parts = new Intl.DateTimeFormat('en', { hourCycle: 'h23', timeZone: zone, ...digits });
export const local = at => {
  const p = Object.fromEntries(parts.formatToParts(at).map(({ type, value }) => [type, +value]));
  return Date.UTC(p.year, p.month - 1, p.day, p.hour, p.minute, p.second);
};

// A time on an axis that spans so many ms; to the second; with its day.
export const clock = (at, span = 0) => (span > 3 * DAY ? date : span > DAY ? moment : time).format(at);
export const clockSeconds = at => second.format(at);
export const clockDay = at => moment.format(at);

// All ages on the page go on by themselves.
export function ages() {
  for (const e of $times()) {
    const text = ago(now() - Date.parse(e.dateTime), e.dataset.ago);
    if (e.textContent !== text) e.textContent = text;
  }
}
const $times = () => document.querySelectorAll('time[data-ago]');

// A time that has become another.
export function stamp(e, at) {
  if (!e || !at || e.dateTime === at) return;
  e.dateTime = at;
  e.textContent = ago(now() - Date.parse(at), e.dataset.ago);
}
