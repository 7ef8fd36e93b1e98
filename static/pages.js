// What each live page does with its news. Numbers change in place, rows never move, words that would lie are fetched anew.
import { $, $$, el, t, now, ago, toast, unit } from './util.js';
import { LAMP, alertsOf, api, follow, page, put, renew, rows, shows, watch } from './live.js';
import { charts, pack, spark } from './chart.js';
import { logs } from './log.js';

const here = page();

/* servers: the same question as the page's, answered as JSON */
const hot = (td, v, isHot) => {
  const n = td?.firstElementChild; if (!n) return;
  const want = v != null && isHot ? 'B' : 'SPAN', e = n.tagName === want ? n : el(want.toLowerCase());
  put(e, unit(v, '%')); if (e !== n) n.replaceWith(e);
};
const stamp = (e, at) => { if (e && at && e.dateTime !== at) { e.dateTime = at; put(e, ago(now() - Date.parse(at), e.dataset.ago)); } };
function row(tr, s) {
  const c = tr.cells, m = s.last_sample, open = kind => s.alerts.kinds.includes(kind);
  if (!shows(tr, c[0], s)) return false;
  if (!m) return c.length < 8 || !$('time', c[7]);
  if (!$('time', c[7])) return false;
  const disk = m.disk_max_percent ?? m.disk_percent;
  hot(c[2], m.cpu_percent, open('metric.cpu')); hot(c[3], m.mem_percent, open('metric.mem')); hot(c[4], disk, open('metric.disk'));
  const bar = $('meter', c[4]); if (bar) bar.value = (disk ?? 0) / 100;
  const line = $('canvas', c[2]); if (line && s.spark_cpu) { line.dataset.s = pack(s.spark_cpu); spark(line); }
  if (m.load1 != null) put(c[5].firstChild, unit(m.load1, ''));
  stamp($('time', c[7]), m.ts);
  return true;
}
if (here.kind === 'servers') {
  const known = rows();
  watch('/servers' + document.body.dataset.query, d => { for (const s of d.items) { const tr = known.get(String(s.id)); if (tr && !row(tr, s)) return renew(); } });
}

/* overview: the lamps of the wall; a lamp that changes its state changes the sentence, too */
if (here.kind === 'home') {
  const lamps = new Map($$('.lamps a').map(a => [a.dataset.id, a]));
  watch('/servers?limit=500', d => {
    for (const s of d.items) {
      const a = lamps.get(String(s.id)), m = s.last_sample; if (!a || !shows(a, a, s)) return renew();
      if (m) { a.dataset.t = Date.parse(m.ts); a.dataset.m = [m.cpu_percent, m.mem_percent, m.disk_max_percent ?? m.disk_percent].map(v => v == null ? '' : Math.round(v)).join(' '); }
    }
    if (d.total !== lamps.size && d.total <= 500) renew();
  });
}

/* the first hour: the page becomes the overview when a lamp is lit */
if (here.kind === 'welcome') {
  const lamps = new Map(); let was;
  watch('/servers?limit=500', d => {
    for (const s of d.items) lamps.set(s.id, s.state + s.host_key_state);
    for (const id of d.gone ?? []) lamps.delete(id);
    const is = JSON.stringify([...lamps]); if (was !== undefined && was !== is) renew();
    was = is;
  });
}

/* one server */
if (here.kind === 'server') {
  const b = document.body;
  const seg = $('[data-periods]'), period = () => $('[aria-current]', seg).dataset.v;
  const fullest = (series, prefix) => { // at most three lines are told apart
    const last = s => s.points.at(-1)?.[1] ?? -1, all = series.filter(s => s.key.startsWith(prefix)).sort((a, b) => last(b) - last(a));
    return all.length ? all.slice(0, 3).map(s => s.key) : [prefix];
  };
  // Polls are further apart than the chart's steps: what lies between two that belong together is no gap.
  const bridge = (line, reach) => {
    let last = -1;
    for (let i = 0; i <= line.length; i++) {
      if (i < line.length && line[i] == null) continue;
      if (last >= 0 && i - last <= reach) for (let k = last + 1; k < i; k++) line[k] = i < line.length ? line[last] + (line[i] - line[last]) * (k - last) / (i - last) : line[last];
      last = i;
    }
  };
  // Which lines these are is known only now: their names go into the caption, each with its dash.
  const keys = (f, names) => {
    const N = 'http://www.w3.org/2000/svg';
    const key = (name, k) => {
      const s = document.createElementNS(N, 'svg'), p = document.createElementNS(N, 'path'), dash = [null, '5 3', '2 3'][k];
      s.setAttribute('viewBox', '0 0 20 8'); s.setAttribute('aria-hidden', 'true'); p.setAttribute('d', 'M0 4h20'); p.setAttribute('stroke', 'currentColor'); p.setAttribute('stroke-width', '2'); if (dash) p.setAttribute('stroke-dasharray', dash);
      s.append(p); return el('span', { cls: `key k${k + 1}` }, s, name);
    };
    for (const old of $$('.key', f)) old.remove();
    if (names.length > 1) $('figcaption', f).append(...names.map(key));
  };
  const draw = d => {
    const ms = x => typeof x === 'string' ? Date.parse(x) : x, from = ms(d.from), dt = d.step_s * 1000, gap = 2 * 1000 * Math.max(d.step_s, d.interval_s || 0), n = Math.max(2, Math.round((ms(d.to) - from) / dt)), by = new Map(d.series.map(s => [s.key, s]));
    for (const p of $$('[data-far]')) { p.hidden = !d[p.dataset.far]; if (d.notice) put($('span', p), d.notice); }
    const mean = d.period !== '1h', reach = Math.max(1, Math.ceil(2.5 * d.interval_s * 1000 / dt));
    for (const f of $$('figure.chart')) {
      const names = f.dataset.series.endsWith('*') ? fullest(d.series, f.dataset.series.slice(0, -1)) : f.dataset.series.split(' '), got = names.map(k => by.get(k)).filter(Boolean);
      const lines = names.map(k => {
        const v = Array(n).fill(null), lo = Array(n).fill(null), hi = Array(n).fill(null);
        const points = by.get(k)?.points || [];
        let last = -1, was = 0; // polls further apart than two intervals have a gap between them, closer ones have not
        for (const [at, a, l, h] of points) {
          const i = Math.round((at - from) / dt); if (i < 0 || i >= n) continue;
          if (last >= 0 && at - was <= gap) for (let j = last + 1; j < i; j++) { v[j] = v[last]; lo[j] = lo[last]; hi[j] = hi[last]; }
          v[i] = a; lo[i] = l; hi[i] = h; last = i; was = at;
        }
        for (const line of [v, lo, hi]) bridge(line, reach);
        return { name: t.series[k] || (k.startsWith('disk:') ? k.slice(5) : $('b', f).textContent), v, ...(mean && k === names[0] ? { lo, hi } : {}) };
      });
      if (f.dataset.series.endsWith('*')) keys(f, lines.map(l => l.name));
      const u = f.dataset.unit, first = Math.min(...got.flatMap(s => s.points.length ? [s.points[0][0]] : []));
      charts.get(f.id).set({ t0: from, dt, unit: u, max: u === '%' ? 100 : 0, series: lines, since: Number.isFinite(first) && first > from + dt * 2 ? first : 0 });
    }
  };
  const load = async () => { try { draw(await api(`/servers/${here.id}/metrics?period=${period()}`)); } catch (e) { if (e.status === undefined) throw e; } };
  seg?.addEventListener('click', e => {
    const a = e.target.closest('a'); if (!a) return; e.preventDefault();
    for (const x of $$('a', seg)) x === a ? x.setAttribute('aria-current', 'true') : x.removeAttribute('aria-current');
    history.replaceState(null, '', a.href); load();
  });
  let last = 0;
  watch(`/servers/${here.id}`, s => {
    const m = s.last_sample;
    if (LAMP[s.state] + (s.silenced_until ? ' hush' : '') !== b.dataset.lamp || alertsOf(s) !== b.dataset.a || s.host_key_state !== b.dataset.key) return renew();
    if (m && !seg) return renew();
    if (!m) return;
    const value = { cpu: [m.cpu_percent, '%'], mem: [m.mem_percent, '%'], disk: [m.disk_max_percent ?? m.disk_percent, '%'], load: [m.load1, ''], net: [m.net_rx, 'B/s'], io: [m.disk_read, 'B/s'], iowait: [m.iowait_percent, '%'], poll: [m.took_ms, 'ms'] };
    for (const f of $$('figure.chart')) { const [v, u] = value[f.id.slice(2)]; charts.get(f.id).tell(unit(v, u)); }
    stamp($('#seen time') || $('.pill time'), m.ts);
    if (Date.parse(m.ts) > last) { last = Date.parse(m.ts); load(); }
  });
  if (seg) load();
}

/* a task's news, on its own page or in the dialog of the page that started it */
const GLYPH = { running: 'run', ok: 'ok', changed: 'ok', failed: 'fail', skipped: 'skip', waiting: 'wait' }, END = { ok: 'ok', failed: 'fail', cancelled: 'skip', interrupted: 'fail' };
const kind = l => l.level === 'error' ? 'e' : l.level === 'warning' ? 'w' : l.stream === 'stderr' ? 'x' : l.source === 'step' ? 'st' : l.source === 'command' ? 'cmd' : '';
const line = (log, l) => log.append({ n: l.seq, t: Date.parse(l.ts), k: kind(l), s: l.line });
function step(list, p) {
  let li = [...list.children].find(x => x.dataset.step === p.name);
  if (!li) { $('.none', list)?.remove(); list.append(li = el('li', { 'data-step': p.name }, el('i'), el('span', {}, el('span', { cls: 'vh' }), el('span', { cls: 't' }, p.title || p.name)), el('span', { cls: 'd' }))); }
  const g = GLYPH[p.state] || 'wait';
  li.firstElementChild.className = 'g s-' + g; put($('.vh', li), t.states[g] + ': ');
  li.classList.toggle('now', g === 'run' || g === 'fail'); li.classList.toggle('bad', g === 'fail');
  if (p.ms != null && g !== 'run') put($('.d', li), p.ms < 1e4 ? unit(p.ms / 1000, t.u[0]) : ago(p.ms));
  li.scrollIntoView({ block: 'nearest' });
}
if (here.kind === 'task' && document.body.dataset.running !== undefined) {
  const log = logs.get('log'), list = $('#steps'); log.live = true;
  follow(here.id, +document.body.dataset.seq, { log: l => line(log, l), progress: p => step(list, p), end: () => location.reload() });
}

/* an action whose form names a task: started through the API, shown in the dialog; without the dialog the form goes on */
const dialog = $('#progress');
if (dialog) {
  let task, ended, tick;
  const show = (id, title) => {
    const log = logs.get('plog'), list = $('#psteps'), t0 = now(); ended = false; task = id;
    log.clear(); list.replaceChildren(); put($('#pt'), title); dialog.querySelector('header .g').className = 'g s-run';
    $('#plink').href = '/tasks/' + id; $('#pcancel').hidden = false;
    clearInterval(tick); tick = setInterval(() => put($('#pel'), ago(now() - t0)), 500);
    dialog.showModal();
    follow(id, 0, {
      log: l => line(log, l),
      progress: p => { step(list, p); put($('#pnow'), t.step(p.step, p.steps)); },
      end: e => {
        ended = true; clearInterval(tick); dialog.querySelector('header .g').className = 'g s-' + (END[e.status] || 'fail');
        put($('#pnow'), t.ended[e.status] || e.status); $('#pcancel').hidden = true; put($('#pclose'), t.close); log.setFollow(true);
      },
    });
  };
  dialog.addEventListener('close', () => { if (ended) location.reload(); });
  $('#pcancel').addEventListener('click', async e => { e.currentTarget.setAttribute('aria-busy', 'true'); try { await api(`/tasks/${task}/cancel`, { method: 'POST' }); } catch { /* the stream tells the outcome */ } $('#pcancel').removeAttribute('aria-busy'); });
  document.addEventListener('submit', async e => {
    const f = e.target, what = f.dataset.task; if (!what || e.defaultPrevented) return; e.preventDefault();
    const b = e.submitter, title = b.textContent.trim(); f.closest('dialog')?.close(); f.closest('.menu')?.removeAttribute('open');
    const body = Object.fromEntries([...new FormData(f)].filter(([k]) => k !== 'csrf'));
    try { const d = await api(new URL(f.action).pathname, { method: 'POST', body: Object.keys(body).length ? body : undefined }); show(d.task_id, title); }
    catch { f.submit(); } // the page that answers says why
  }, true);
}

/* a poll on demand: its answer is told, its numbers come with the next round */
document.addEventListener('submit', async e => {
  if (e.target.dataset.probe === undefined || e.defaultPrevented) return; e.preventDefault();
  const b = e.submitter, w = $('span', b), text = w.textContent; b.setAttribute('aria-busy', 'true'); b.style.minWidth = b.offsetWidth + 'px'; w.textContent = b.dataset.busy;
  try { const d = await api(`/servers/${e.target.dataset.probe}/probe-glances`, { method: 'POST' }); toast(`${t.probed(d.took_ms)} ${d.detail}`); }
  catch (x) { if (x.status === undefined) throw x; toast(x.detail, { kind: 'fail' }); }
  b.removeAttribute('aria-busy'); w.textContent = text;
}, true);

/* lists that only need to know that something is new */
if (here.kind === 'tasks') { const known = rows(); watch('/tasks' + document.body.dataset.query, d => { if (d.gone?.length || d.items.some(k => known.get(String(k.id))?.dataset.status !== k.status)) renew(); }); }
if (here.kind === 'alerts') watch('/alerts?state=firing&limit=1', d => { if (String(d.total) !== document.body.dataset.count) renew(); });
