// Shared by all modules: selectors, the server's clock, words, numbers with units.
export const html = document.documentElement;
export const $ = (s, e = document) => e.querySelector(s);
export const $$ = (s, e = document) => [...e.querySelectorAll(s)];

// Builds elements without markup from text: the policy `require-trusted-types-for 'script'` holds.
export function el(tag, props = {}, ...kids) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k === 'cls') e.className = v;
    else if (k in e && k !== 'role') e[k] = v;
    else e.setAttribute(k, v);
  }
  e.append(...kids.filter(k => k != null));
  return e;
}
const sheet = new URL('icons.svg', import.meta.url).pathname;
export const iconRef = name => `${sheet}#${name}`;
export function icon(name) {
  const N = 'http://www.w3.org/2000/svg', s = document.createElementNS(N, 'svg'), u = document.createElementNS(N, 'use');
  s.setAttribute('class', 'i'); s.setAttribute('aria-hidden', 'true'); u.setAttribute('href', iconRef(name)); s.append(u);
  return s;
}

// One clock, the server's: `data-now` is when the page was made.
const skew = html.dataset.now ? Date.parse(html.dataset.now) - Date.now() : 0;
export const now = () => Date.now() + skew;

const en = {
  u: ['s', 'min', 'h', 'd'], ago: 'ago', undo: 'Undo', close: 'Close', copied: 'Copied', go: 'Go to', live: 'Live', wait: 'Reconnecting', off: 'Offline', dataIs: 'data is', old: 'old', never: 'Never polled', hush: 'Silenced',
  theme: { auto: 'Theme: as the system', light: 'Theme: light', dark: 'Theme: dark' }, states: { lit: 'Lit', flick: 'Flickering', dark: 'Dark', unlit: 'Not yet lit', run: 'Running', ok: 'Done', fail: 'Failed', wait: 'Waiting', skip: 'Skipped' },
  cpu: 'CPU', mem: 'RAM', disk: 'disk', nodata: 'no data', from: 'Collecting since', min: 'min', avg: 'avg', max: 'max', table: 'Time', lines: n => `${n} new line${n === 1 ? '' : 's'}`, of: 'of', none: 'none', times: ['Time: clock', 'Time: since start', 'Time: off'],
  rate: ['B/s', 'kB/s', 'MB/s', 'GB/s'], series: { mem: 'RAM', swap: 'swap', load1: '1 min', load5: '5 min', load15: '15 min', net_rx: 'in', net_tx: 'out', disk_read: 'read', disk_write: 'written' },
  probed: ms => `Answered in ${ms}\u00a0ms.`, add: 'Add server', toggle: 'Switch theme', commands: 'Commands', servers: 'Servers', failed: 'The server did not answer. Try again.', signIn: 'You are signed out.', step: (a, b) => `Step ${a} of ${b}`, ended: { ok: 'Done', failed: 'Failed', cancelled: 'Cancelled', interrupted: 'Interrupted' },
  more: n => `All ${n} that fit`, pal: ['Search or run a command', 'A server, a page, a command', 'Nothing has this name. Try part of a host or a tag.', 'choose', 'open', 'all shortcuts'],
  keys: { t: 'Keyboard shortcuts', off: 'Single-letter keys can be switched off in Preferences.', l: [['Ctrl K', 'Search or run a command'], ['g h s d l a m', 'Then one letter: overview, servers, domains, tasks, alerts, messages'], ['/', 'Search on this page'], ['j k Enter', 'Next row, previous row, open'], ['← →', 'Along a chart or a street of lamps'], ['?', 'This list']] },
};
const ru = {
  u: ['с', 'мин', 'ч', 'д'], ago: 'назад', undo: 'Отменить', close: 'Закрыть', copied: 'Скопировано', go: 'Перейти', live: 'На связи', wait: 'Переподключение', off: 'Нет связи', dataIs: 'данным', old: '', never: 'Ещё не опрашивался', hush: 'Без сообщений',
  theme: { auto: 'Тема: как в системе', light: 'Тема: светлая', dark: 'Тема: тёмная' }, states: { lit: 'Горит', flick: 'Мерцает', dark: 'Не горит', unlit: 'Ещё не зажжён', run: 'Выполняется', ok: 'Готово', fail: 'Ошибка', wait: 'Ожидает', skip: 'Пропущено' },
  cpu: 'ЦП', mem: 'ОЗУ', disk: 'диск', nodata: 'нет данных', from: 'Сбор начат', min: 'мин', avg: 'сред', max: 'макс', table: 'Время', lines: n => `новых строк: ${n}`, of: 'из', none: 'нет', times: ['Время: часы', 'Время: от начала', 'Время: скрыто'],
  rate: ['Б/с', 'кБ/с', 'МБ/с', 'ГБ/с'], series: { mem: 'ОЗУ', swap: 'подкачка', load1: '1 мин', load5: '5 мин', load15: '15 мин', net_rx: 'приём', net_tx: 'отдача', disk_read: 'чтение', disk_write: 'запись' },
  probed: ms => `Ответ за ${ms}\u00a0мс.`, add: 'Добавить сервер', toggle: 'Сменить тему', commands: 'Команды', servers: 'Серверы', failed: 'Сервер не ответил. Повторите.', signIn: 'Вы вышли из системы.', step: (a, b) => `Шаг ${a} из ${b}`, ended: { ok: 'Готово', failed: 'Ошибка', cancelled: 'Отменено', interrupted: 'Прервано' },
  more: n => `Все найденные: ${n}`, pal: ['Найти или выполнить', 'Сервер, страница, команда', 'Ничего с таким именем. Попробуйте часть имени узла или метку.', 'выбор', 'открыть', 'все клавиши'],
  keys: { t: 'Горячие клавиши', off: 'Однобуквенные клавиши отключаются в личных настройках.', l: [['Ctrl K', 'Найти или выполнить'], ['g h s d l a m', 'Затем буква: обзор, серверы, домены, задачи, тревоги, сообщения'], ['/', 'Поиск на странице'], ['j k Enter', 'Следующая строка, предыдущая, открыть'], ['← →', 'По графику или по ряду фонарей'], ['?', 'Этот список']] },
};
export const t = html.lang === 'ru' ? ru : en;

export function ago(ms, mode) { // 'age' → 27 min; 'ago' → 27 min ago
  const s = Math.max(0, Math.round(Math.abs(ms) / 1000)), [S, M, H, D] = t.u;
  const v = s < 90 ? `${s}\u00a0${S}` : s < 5400 ? `${Math.round(s / 60)}\u00a0${M}` : s < 172800 ? `${Math.round(s / 3600)}\u00a0${H}` : `${num(Math.round(s / 86400))}\u00a0${D}`;
  return mode === 'ago' ? `${v} ${t.ago}` : v;
}
export const num = (v, d = 0) => v.toLocaleString(html.lang, { minimumFractionDigits: d, maximumFractionDigits: d });
export function unit(v, u) {
  if (v == null) return '–';
  if (u === '%') return num(v, v < 9.95 ? 1 : 0) + '\u00a0%';
  if (u === 'B/s') { let i = 0; while (v >= 1000 && i < 3) { v /= 1000; i++; } return num(v, v < 10 && i ? 1 : 0) + '\u00a0' + t.rate[i]; }
  return num(v, v < 10 ? 2 : 1) + (u ? '\u00a0' + u : '');
}
const tz = html.dataset.tz || undefined, F = o => new Intl.DateTimeFormat(html.lang, { hourCycle: 'h23', timeZone: tz, ...o });
const hm = F({ hour: '2-digit', minute: '2-digit' }), hms = F({ hour: '2-digit', minute: '2-digit', second: '2-digit' }), dm = F({ day: 'numeric', month: 'short' }), full = F({ day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
export const clock = (x, span = 0) => (span > 3 * 864e5 ? dm : span > 864e5 ? full : span === -1 ? hms : span === -2 ? full : hm).format(x);

// A colour from a token, resolved for the place where it is used (works inside .night too).
export function ink(at, name) {
  const p = document.createElement('i'); p.style.color = `var(--${name})`; p.style.display = 'none'; p.style.forcedColorAdjust = 'none';
  at.append(p); const c = getComputedStyle(p).color; p.remove();
  return c;
}

// Says what happened; errors stay.
export function toast(text, { kind = 'ok', ms = 6e3 } = {}) {
  const box = $('#toasts'); if (!box) return;
  const x = el('div', { cls: 'toast' }, el('i', { cls: 'g s-' + kind }), el('span', {}, text), el('button', { cls: 'btn quiet sm', type: 'button', onclick: () => x.remove() }, t.close));
  box.append(x);
  let left = ms, at, id;
  const go = () => { at = Date.now(); id = setTimeout(() => x.remove(), left); };
  if (kind !== 'fail') { go(); x.onmouseenter = () => { clearTimeout(id); left -= Date.now() - at; }; x.onmouseleave = go; }
  while (box.children.length > 3) box.firstChild.remove();
}
