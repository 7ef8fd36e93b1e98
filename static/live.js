// What keeps a page true while it is open: the live view of the JSON that it shows, and for a task its log. The pill says
// what is known, with the age of the data. A page says in `<body data-live>` what it shows; nothing else knows where the
// news comes from.
import { $, $$, html, t, now, ago } from './util.js';

export const pill = {
  state: 'still', last: now(),
  fresh() { this.last = now(); this.set('live'); },
  set(s) { this.state = s; this.paint(); },
  paint() {
    const e = $('.live'); if (!e || this.state === 'still') return;
    const age = now() - this.last, s = this.state === 'live' && age > 25e3 ? 'wait' : this.state;
    const text = s === 'live' ? t.live : `${s === 'wait' ? t.wait : t.off} · ${t.dataIs} ${ago(age)} ${t.old}`.trim();
    if (e.dataset.live !== s) e.dataset.live = s;
    if (e.textContent !== text) e.textContent = text;
  },
};
setInterval(() => pill.paint(), 1000);

// One request to the API with this page's session. Throws `{status}` on a refusal, `{status: 0}` without an answer.
export async function api(path, { method = 'GET', body, signal } = {}) {
  const headers = { Accept: 'application/json' };
  if (method !== 'GET') headers['X-CSRF-Token'] = html.dataset.csrf;
  if (body) headers['Content-Type'] = 'application/json';
  let r; try { r = await fetch('/api' + path, { method, headers, body: body && JSON.stringify(body), credentials: 'same-origin', cache: 'no-store', signal }); } catch { throw { status: 0, detail: t.failed }; }
  const answer = await r.json().catch(() => ({}));
  if (!r.ok) throw { status: r.status, detail: r.status === 401 ? t.signIn : answer.detail || t.failed, code: answer.error_code };
  return answer;
}

// Asks again and again while the page is seen; a hidden tab asks nobody.
export function poll(path, every, use) {
  let id, gone = 0;
  const again = ms => { clearTimeout(id); id = setTimeout(beat, ms); };
  const beat = async () => {
    if (document.hidden) return;
    try { use(await api(typeof path === 'function' ? path() : path)); gone = 0; pill.fresh(); again(every); }
    catch (e) { if (e.status === undefined) throw e; gone++; pill.set(e.status === 401 || gone > 3 ? 'off' : 'wait'); again(Math.min(60e3, every * 1.5 ** gone)); }
  };
  document.addEventListener('visibilitychange', () => { if (!document.hidden) beat(); });
  beat();
  return beat;
}

// A stream of events. The first comes at once and a `beat` after 15 s at the latest: one that says nothing for longer is
// begun anew, and one that said nothing at all twice (a proxy holds it back, or there are too many of them) is left, and
// `leave` goes on in another way. `on` has what each event is good for.
const FIRST = 5e3, QUIET = 20e3;
function hear(url, on, leave) {
  let es, quiet, silent = 0;
  const listen = ms => { clearTimeout(quiet); quiet = setTimeout(() => { es.close(); if (++silent < 2) open(); else leave(); }, ms); };
  const open = () => {
    es = new EventSource(url());
    for (const [name, use] of Object.entries({ beat: () => {}, ...on })) es.addEventListener(name, e => { silent = 0; pill.fresh(); listen(QUIET); use(JSON.parse(e.data), +e.lastEventId); });
    es.onerror = () => { pill.set('wait'); listen(es.readyState === EventSource.CLOSED ? 3e3 : QUIET); };
    listen(FIRST);
  };
  const close = () => { clearTimeout(quiet); es.close(); };
  addEventListener('pagehide', close);
  open();
  return { close, again() { if (es.readyState === EventSource.CLOSED) { silent = 0; open(); } } };
}

// What a page shows: told when it changes, and of a list only what has changed (`items`, `gone`). Where streams do not get
// through it is asked for every 10 s instead. A hidden tab is quiet after a minute.
export function watch(path, use) {
  let away, left = false;
  const stream = hear(() => '/api/live?of=' + encodeURIComponent('/api' + path), { data: use }, () => { left = true; poll(path, 1e4, use); });
  document.addEventListener('visibilitychange', () => {
    clearTimeout(away);
    if (left) return;
    if (document.hidden) away = setTimeout(stream.close, 60e3); else stream.again();
  });
}

// A task's news: its stream, or the long-poll twin. `on` has log({seq, ts, level, source, stream, line}),
// progress({step, steps, name, state}), end({status, …}).
export function follow(id, after, on) {
  let seq = after, done = false;
  const finish = e => { done = true; stream.close(); on.end(e); };
  // A line, or a step as one: what was told is not told again, whichever way it comes.
  const tell = (n, use) => { if (n > seq) { seq = n; use(); } };
  const ask = async () => {
    while (!done) {
      try {
        const d = await api(`/tasks/${id}/logs?after=${seq}&wait=20`); pill.fresh();
        for (const l of d.items) tell(l.seq, () => l.source === 'progress' ? on.progress(JSON.parse(l.line)) : on.log(l));
        if (d.end) finish(d.end);
        else if (!d.items.length) await new Promise(r => setTimeout(r, 1e3)); // too many wait: it was answered at once
      } catch (e) { if (e.status === undefined) throw e; pill.set('wait'); if (e.status === 401 || e.status === 404) { pill.set('off'); return; } await new Promise(r => setTimeout(r, 5e3)); }
    }
  };
  const stream = hear(() => `/api/tasks/${id}/stream?after=${seq}`, { log: (d, n) => tell(n, () => on.log({ ...d, seq: n })), progress: (d, n) => tell(n, () => on.progress(d)), end: finish }, ask);
}

export const page = () => ({ kind: document.body.dataset.live, id: document.body.dataset.id, acts: document.body.dataset.acts !== undefined });
// A change that the words of the page do not tell any more: load it afresh, unless somebody is in the middle of something.
// Not more often than every 20 s, whatever the server says.
let later;
export function renew() {
  const busy = $('dialog[open]') || $('.menu[open]') || /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName) || !getSelection().isCollapsed;
  if (busy || Date.now() - (sessionStorage.renewed || 0) < 20e3) { clearTimeout(later); later = setTimeout(renew, 5e3); return; }
  sessionStorage.renewed = Date.now(); location.reload();
}
// What is drawn for a server's state, and whether a page shows it as it is now: its lamp, its silence, its open alerts.
export const LAMP = { up: 'lit', pending: 'unlit', degraded: 'flick', down: 'dark' };
export const alertsOf = s => `${s.alerts.worst?.id ?? ''}/${s.alerts.open}`;
export const shows = (e, lamp, s) => lamp.classList.contains('s-' + LAMP[s.state]) && lamp.classList.contains('hush') === !!s.silenced_until && e.dataset.a === alertsOf(s);
export const put = (e, text) => { if (e && e.textContent !== text) e.textContent = text; };
export const rows = () => new Map($$('tr[data-id]').map(r => [r.dataset.id, r]));
