// Native modules, no build step, no library. Every page already works without this file: links are links, actions are
// form POSTs. What is here makes it quick.
import { $, $$, el, icon, iconRef, html, t, now, ago, toast } from './util.js';
import './chart.js';
import './log.js';
import { LAMP, api, page } from './live.js';
import './pages.js';

/* relative times: one clock, the server's */
const tick = () => {
  for (const e of $$('time[data-ago]')) {
    const s = ago(now() - Date.parse(e.dateTime), e.dataset.ago);
    if (e.textContent !== s) e.textContent = s;
  }
};
setInterval(tick, 1000); tick();

/* theme: system → light → dark; told to the server, shown at once */
const themes = ['auto', 'light', 'dark'], next = v => themes[(themes.indexOf(v) + 1) % 3];
function setTheme(v) {
  if (v === 'auto') delete html.dataset.theme; else html.dataset.theme = v;
  for (const f of $$('[data-theme-form]')) {
    const b = $('button', f); b.value = next(v); b.title = t.theme[v]; b.setAttribute('aria-label', t.theme[v]);
    $('use', b).setAttribute('href', iconRef({ auto: 'auto', light: 'sun', dark: 'moon' }[v]));
    fetch(f.action, { method: 'POST', body: new URLSearchParams({ csrf: html.dataset.csrf, theme: v }), redirect: 'manual' }).catch(() => {});
  }
  dispatchEvent(new Event('theme'));
}
document.addEventListener('submit', e => { if (e.target.dataset.themeForm !== undefined) { e.preventDefault(); setTheme(next(html.dataset.theme || 'auto')); } });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => dispatchEvent(new Event('theme')));

/* a press answers at once: the button says what goes on and keeps its width; a second press does nothing */
document.addEventListener('submit', e => {
  const b = e.submitter || $('button:not([type=button])', e.target); if (e.defaultPrevented || !b || e.target.method === 'get') return;
  if (b.getAttribute('aria-busy') === 'true' || b.getAttribute('aria-disabled') === 'true') return e.preventDefault();
  b.setAttribute('aria-busy', 'true'); if (b.dataset.busy) { b.style.minWidth = b.offsetWidth + 'px'; $('span', b).textContent = b.dataset.busy; }
});
addEventListener('pageshow', e => { if (e.persisted) location.reload(); }); // a page out of the cache is not news

/* menus are <details>; here they also close */
document.addEventListener('click', e => { for (const m of $$('.menu[open]')) if (!m.contains(e.target)) m.open = false; });
document.addEventListener('keydown', e => {
  const m = e.target.closest?.('.menu[open]'); if (!m) return;
  const all = $$('.mi', m).filter(x => x.offsetWidth), i = all.indexOf(document.activeElement);
  if (e.key === 'Escape') { m.open = false; $('summary', m).focus(); e.stopPropagation(); }
  if (e.key === 'ArrowDown' || e.key === 'ArrowUp') { e.preventDefault(); all.at((i + (e.key === 'ArrowDown' ? 1 : i < 0 ? 0 : -1)) % all.length)?.focus(); }
});

/* dialogs: <dialog>, opened by anything with data-open */
export const open = id => { const d = document.getElementById(id); if (d && !d.open) { d.showModal(); d.dispatchEvent(new Event('open')); } return d; };
document.addEventListener('click', e => {
  const o = e.target.closest('[data-open]'); if (o && document.getElementById(o.dataset.open)) { e.preventDefault(); o.closest('.menu')?.removeAttribute('open'); open(o.dataset.open); }
  const c = e.target.closest('[data-close]'); if (c) { e.preventDefault(); c.closest('dialog').close(); }
  const y = e.target.closest('[data-copy]'); if (y) navigator.clipboard?.writeText((y.dataset.copy ? $(y.dataset.copy) : y.previousElementSibling).textContent.trim()).then(() => toast(t.copied));
});
document.addEventListener('mousedown', e => { if (e.target.tagName === 'DIALOG' && !e.target.dataset.sticky) e.target.close(); });
for (const i of $$('[data-must]')) { // type the name to go on
  const b = $('button:not([type=button])', i.form), f = () => b.setAttribute('aria-disabled', String(i.value !== i.dataset.must));
  i.addEventListener('input', f); f();
  i.form.addEventListener('submit', e => { if (i.value !== i.dataset.must) { e.preventDefault(); i.setAttribute('aria-invalid', 'true'); i.focus(); } });
}
$('.note[role=alert][tabindex]')?.focus(); // a refused form: its summary first

/* the wall: one tooltip for all lamps, by mouse and by keyboard */
const tip = $('#tip');
const stateOf = a => [...a.classList].map(c => c.slice(2)).find(c => t.states[c]) || 'unlit';
const showTip = a => {
  const [cpu, mem, disk] = (a.dataset.m || '').split(' '), st = stateOf(a), at = a.dataset.t;
  tip.replaceChildren(
    el('b', {}, a.textContent.split(',')[0]),
    el('span', { cls: 'state s-' + st }, el('i', { cls: 'g' }), t.states[st]), a.classList.contains('hush') ? el('small', {}, t.hush) : '', a.dataset.r ? el('small', {}, a.dataset.r) : '',
    el('small', {}, at ? `${t.cpu} ${cpu || '–'} % · ${t.mem} ${mem || '–'} % · ${t.disk} ${disk || '–'} % · ${ago(now() - at, 'ago')}` : t.never));
  tip.hidden = false;
  const r = a.getBoundingClientRect(), w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = Math.max(8, Math.min(innerWidth - w - 8, r.left + r.width / 2 - w / 2)) + 'px';
  tip.style.top = (r.top - h - 6 > 60 ? r.top - h - 6 : r.bottom + 6) + 'px';
};
for (const w of $$('.lamps')) {
  w.addEventListener('mouseover', e => { const a = e.target.closest('a'); if (a) showTip(a); });
  w.addEventListener('mouseleave', () => { tip.hidden = true; });
  w.addEventListener('focusin', e => showTip(e.target)); w.addEventListener('focusout', () => { tip.hidden = true; });
  w.addEventListener('keydown', e => { // arrows walk the street
    const all = $$('.lamps a'), i = all.indexOf(e.target), per = Math.max(1, Math.floor(w.clientWidth / e.target.offsetWidth));
    const k = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: per, ArrowUp: -per }[e.key]; if (k) { e.preventDefault(); all[Math.max(0, Math.min(all.length - 1, i + k))].focus(); }
  });
}
for (const l of $$('[data-only]')) for (const ev of ['mouseenter', 'focus', 'mouseleave', 'blur']) l.addEventListener(ev, () => {
  const on = ev === 'mouseenter' || ev === 'focus';
  for (const s of $$('.lamps')) { s.classList.toggle('dim', on); for (const a of s.children) a.classList.toggle('on', on && a.classList.contains(l.dataset.only)); }
});

/* tables: j k Enter; a table may be drawn closer */
const typing = e => /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName) && !/^(checkbox|radio)$/.test(e.target.type) || e.target.isContentEditable;
const single = e => !(typing(e) || e.ctrlKey || e.metaKey || e.altKey || html.dataset.keys === 'off' || $('dialog[open]'));
let row = -1;
document.addEventListener('keydown', e => {
  const all = $$('table.walk tbody tr'); if (!all.length || !single(e) || (e.key !== 'j' && e.key !== 'k')) return;
  all[row]?.classList.remove('cur'); row = Math.max(0, Math.min(all.length - 1, row + (e.key === 'j' ? 1 : -1)));
  all[row].classList.add('cur'); $('a', all[row]).focus({ preventScroll: true }); all[row].scrollIntoView({ block: 'nearest' });
});
$('button[data-density]')?.addEventListener('click', e => { const c = html.dataset.density === 'compact'; if (c) delete html.dataset.density; else html.dataset.density = 'compact'; e.currentTarget.setAttribute('aria-pressed', !c); });

/* a table with boxes: the bar comes when something is picked, and `x` picks the row */
for (const f of $$('form[data-bulk]')) {
  const all = $('[data-all]', f), boxes = $$('tbody [type=checkbox]', f), bar = $('[data-bar]', f); if (!all || !bar) continue;
  const sel = () => { const n = boxes.filter(b => b.checked).length; bar.hidden = !n; $('[data-picked]', f).textContent = n; all.checked = n === boxes.length; all.indeterminate = n > 0 && n < boxes.length; };
  all.addEventListener('change', () => { for (const b of boxes) b.checked = all.checked; });
  f.addEventListener('change', sel); sel(); // a browser keeps ticks over a reload
  document.addEventListener('keydown', e => { if (e.key === 'x' && single(e) && boxes[row]) { boxes[row].checked = !boxes[row].checked; sel(); } });
}

/* command palette and key list: script only, so made by script, when asked for */
const kbd = s => s.split(' ').flatMap(k => [el('kbd', {}, k), ' ']);
const pal = $('.rail') && el('dialog', { id: 'palette', 'aria-label': t.pal[0] },
  el('div', { cls: 'in' }, icon('search'), el('input', { type: 'text', role: 'combobox', 'aria-expanded': 'true', 'aria-controls': 'plist', 'aria-label': t.pal[0], placeholder: t.pal[1], autocomplete: 'off', spellcheck: false }), ...kbd('Esc')),
  el('ul', { id: 'plist', role: 'listbox', 'aria-label': t.pal[0] }), el('p', { cls: 'empty nothing', hidden: true }, t.pal[2]),
  el('footer', {}, el('span', {}, ...kbd('↑ ↓'), t.pal[3]), el('span', {}, ...kbd('Enter'), t.pal[4]), el('span', { cls: 'no-s' }, ...kbd('?'), t.pal[5])));
if (pal) {
  document.body.append(pal, el('dialog', { id: 'keylist', cls: 'small', 'aria-label': t.keys.t }, el('header', {}, el('h2', { cls: 'grow' }, t.keys.t), el('button', { cls: 'btn quiet ic sm', type: 'button', 'data-close': '', 'aria-label': t.close }, icon('x'))),
    el('div', { cls: 'body' }, el('dl', { cls: 'kv' }, ...t.keys.l.flatMap(([k, d]) => [el('dt', {}, ...kbd(k)), el('dd', {}, d)])), el('p', { cls: 'hint' }, t.keys.off))));
  const inp = $('input', pal), ul = $('ul', pal); let at = 0, shown = [], found = [], ask;
  const fixed = [
    ...(page().acts ? [{ s: t.commands, n: t.add, i: 'plus', h: '/servers/new' }] : []),
    { s: t.commands, n: t.toggle, i: 'moon', a: 'theme' }, { s: t.commands, n: t.keys.t, i: 'term', a: 'keylist', k: '?' },
    ...$$('.rail li a').map(a => ({ s: t.go, n: $('.t', a).textContent.trim(), h: a.getAttribute('href'), k: a.dataset.k, i: $('use', a).getAttribute('href').split('#')[1] })),
  ];
  const score = (n, q) => { // letters in order; runs and word starts count more
    let i = 0, s = 0, last = -2; const hit = []; n = n.toLowerCase();
    for (const c of q) { const p = n.indexOf(c, i); if (p < 0) return null; s += p === last + 1 ? 6 : /[\s\-.]/.test(n[p - 1] || ' ') ? 4 : 1; hit.push(p); last = p; i = p + 1; }
    return { s: s - n.length / 50, hit };
  };
  const draw = () => {
    const q = inp.value.trim().toLowerCase(); ul.replaceChildren(); at = 0;
    shown = [...(q ? found : []), ...fixed].map(x => ({ x, m: score(x.n, q) || (x.f && { s: 0, hit: [] }) })).filter(y => y.m).sort((a, b) => q ? b.m.s - a.m.s : 0).slice(0, 30).map(y => ({ ...y.x, hit: q ? y.m.hit : [] }));
    let sec;
    shown.forEach((x, n) => {
      if (x.s !== sec && !q) ul.append(el('li', { role: 'presentation' }, sec = x.s));
      const name = el('span', {}, ...[...x.n].map((c, j) => x.hit.includes(j) ? el('mark', {}, c) : c));
      const tail = x.k ? x.k.split(' ').flatMap(k => [el('kbd', {}, k), ' ']) : [x.d || (q ? x.s : '')];
      ul.append(el('li', { role: 'option', id: 'po' + n, onclick: () => run(x), onmousemove: () => { if (at !== n) { at = n; mark(); } } }, x.st ? el('i', { cls: 'g s-' + x.st }) : icon(x.i), name, el('small', {}, ...tail)));
    });
    $('.nothing', pal).hidden = shown.length > 0; mark();
  };
  const mark = () => { $$('[role=option]', ul).forEach((l, i) => { l.setAttribute('aria-selected', i === at); if (i === at) { inp.setAttribute('aria-activedescendant', l.id); l.scrollIntoView({ block: 'nearest' }); } }); };
  const run = x => { pal.close(); if (x.h) location = x.h; else if (x.a === 'theme') setTheme(next(html.dataset.theme || 'auto')); else if (x.a) open(x.a); };
  const search = async () => {
    const q = inp.value.trim(); if (!q) { found = []; return draw(); }
    try {
      const [lamps, all] = await Promise.all([api(`/servers?limit=8&q=${encodeURIComponent(q)}`), api(`/search?q=${encodeURIComponent(q)}`)]);
      if (inp.value.trim() !== q) return;
      const menu = kind => fixed.find(x => x.h === (kind === 'tasks' ? '/logs' : '/' + kind)) || {};
      found = [...lamps.items.map(s => ({ s: t.servers, n: s.name, d: s.host, st: LAMP[s.state], h: `/servers/${s.id}`, f: 1 })),
        ...all.items.filter(x => x.kind !== 'servers').map(x => ({ s: menu(x.kind).n, n: x.name, d: x.detail, i: menu(x.kind).i || 'link', h: x.href, f: 1 })),
        ...(all.total > all.items.length ? [{ s: t.servers, n: t.more(all.total), i: 'search', h: `/search?q=${encodeURIComponent(q)}`, f: 1 }] : [])];
      draw();
    } catch { /* pages and commands still serve */ }
  };
  pal.addEventListener('open', () => { inp.value = ''; found = []; draw(); inp.focus(); });
  inp.addEventListener('input', () => { draw(); clearTimeout(ask); ask = setTimeout(search, 150); });
  inp.addEventListener('keydown', e => {
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') { e.preventDefault(); at = (at + (e.key === 'ArrowDown' ? 1 : shown.length - 1)) % (shown.length || 1); mark(); }
    if (e.key === 'Enter' && shown[at]) { e.preventDefault(); run(shown[at]); }
  });
}

/* keys: Ctrl/⌘-K, g + letter, /, ?; the single-letter ones can be switched off in preferences */
let g = 0;
document.addEventListener('keydown', e => {
  if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k' && pal) { e.preventDefault(); return pal.open ? pal.close() : open('palette'); }
  if (!single(e)) return;
  if (g && Date.now() - g < 1200) { g = 0; const a = $(`.rail a[data-k="g ${CSS.escape(e.key)}"]`); if (a) { e.preventDefault(); location = a.href; } return; }
  if (e.key === 'g') g = Date.now();
  if (e.key === '?') { e.preventDefault(); open('keylist'); }
  if (e.key === '/') { const q = $('#q, .log [type=search]'); if (q) { e.preventDefault(); q.focus(); q.select(); } }
});
