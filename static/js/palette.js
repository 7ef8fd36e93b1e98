// Command palette and list of keys: they need script, so script makes them. Ctrl/⌘-K, g and a letter, /, ?.
import { $, $$, el, icon } from './dom.js';
import { t } from './words.js';
import { api } from './api.js';
import { LAMP } from './live.js';
import { open } from './dialogs.js';
import { isCommand } from './tables.js';
import { switchTheme } from './theme.js';

const SHOWN_MAX = 30, TYPING_MS = 150, CHORD_MS = 1200;
const keys = text => text.split(' ').flatMap(key => [el('kbd', {}, key), ' ']);

function makePalette() {
  const input = el('input', {
    type: 'text', role: 'combobox', 'aria-expanded': 'true', 'aria-controls': 'plist', 'aria-label': t.pal[0],
    placeholder: t.pal[1], autocomplete: 'off', spellcheck: false,
  });
  return el('dialog', { id: 'palette', 'aria-label': t.pal[0] },
    el('div', { cls: 'in' }, icon('search'), input, ...keys('Esc')),
    el('ul', { id: 'plist', role: 'listbox', 'aria-label': t.pal[0] }),
    el('p', { cls: 'empty nothing', hidden: true }, t.pal[2]),
    el('footer', {},
      el('span', {}, ...keys('↑ ↓'), t.pal[3]),
      el('span', {}, ...keys('Enter'), t.pal[4]),
      el('span', { cls: 'no-s' }, ...keys('?'), t.pal[5])));
}

function makeKeyList() {
  const close = el('button', { cls: 'btn quiet ic sm', type: 'button', 'data-close': '', 'aria-label': t.close }, icon('x'));
  const list = t.keys.l.flatMap(([key, text]) => [el('dt', {}, ...keys(key)), el('dd', {}, text)]);
  return el('dialog', { id: 'keylist', cls: 'small', 'aria-label': t.keys.t },
    el('header', {}, el('h2', { cls: 'grow' }, t.keys.t), close),
    el('div', { cls: 'body' }, el('dl', { cls: 'kv' }, ...list), el('p', { cls: 'hint' }, t.keys.off)));
}

// An entry: its section, name, picture or lamp, and what it leads to (`href`) or does (`run`).
function commands() {
  const actions = $$('#actions a').map(a => ({
    section: t.commands, name: a.textContent.trim(), picture: a.dataset.picture, href: a.getAttribute('href'),
  }));
  const menu = $$('.rail li a').map(a => ({
    section: t.go,
    name: $('.t', a).textContent.trim(),
    href: a.getAttribute('href'),
    key: a.dataset.k,
    picture: $('use', a).getAttribute('href').split('#')[1],
  }));
  return [
    ...actions,
    { section: t.commands, name: t.toggle, picture: 'moon', run: switchTheme },
    { section: t.commands, name: t.keys.t, picture: 'term', run: () => open('keylist'), key: '?' },
    ...menu,
  ];
}

// How well a name fits: letters in order; runs and word starts count more.
function score(name, asked) {
  const text = name.toLowerCase(), hits = [];
  let from = 0, sum = 0, last = -2;
  for (const letter of asked) {
    const at = text.indexOf(letter, from);
    if (at < 0) return null;
    sum += at === last + 1 ? 6 : /[\s\-.]/.test(text[at - 1] || ' ') ? 4 : 1;
    hits.push(at);
    last = at;
    from = at + 1;
  }
  return { sum: sum - text.length / 50, hits };
}

async function find(text, fixed) {
  const q = encodeURIComponent(text);
  const [servers, all] = await Promise.all([api(`/servers?limit=8&q=${q}`), api(`/search?q=${q}`)]);
  const menu = kind => fixed.find(entry => entry.href === '/' + kind) || {};
  const found = servers.items.map(server => ({
    section: t.servers, name: server.name, detail: server.host, lamp: LAMP[server.state], href: `/servers/${server.id}`,
  }));
  for (const hit of all.items.filter(hit => hit.kind !== 'servers')) {
    const { name: section, picture = 'link' } = menu(hit.kind);
    found.push({ section, name: hit.name, detail: hit.detail, picture, href: hit.href });
  }
  if (all.total > all.items.length) {
    found.push({ section: t.servers, name: t.more(all.total), picture: 'search', href: `/search?q=${q}` });
  }
  return found.map(entry => ({ ...entry, found: true }));
}

function withPalette(palette) {
  const input = $('input', palette), list = $('ul', palette), fixed = commands();
  let at = 0, shown = [], found = [], timer;

  const run = entry => {
    palette.close();
    if (entry.href) location = entry.href;
    else entry.run();
  };
  const mark = () => {
    $$('[role=option]', list).forEach((option, n) => {
      option.setAttribute('aria-selected', n === at);
      if (n !== at) return;
      input.setAttribute('aria-activedescendant', option.id);
      option.scrollIntoView({ block: 'nearest' });
    });
  };
  const point = n => {
    if (at === n) return;
    at = n;
    mark();
  };
  const option = (entry, n, asked) => {
    const letters = [...entry.name].map((c, i) => (entry.hits.includes(i) ? el('mark', {}, c) : c));
    const tail = entry.key ? keys(entry.key) : [entry.detail || (asked ? entry.section : '')];
    const picture = entry.lamp ? el('i', { cls: 'g s-' + entry.lamp }) : icon(entry.picture);
    const on = { role: 'option', id: 'po' + n, onclick: () => run(entry), onmousemove: () => point(n) };
    return el('li', on, picture, el('span', {}, ...letters), el('small', {}, ...tail));
  };
  const draw = () => {
    const asked = input.value.trim().toLowerCase();
    const all = [...(asked ? found : []), ...fixed];
    const fits = all.map(entry => ({ entry, fit: score(entry.name, asked) || (entry.found && { sum: 0, hits: [] }) }));
    const sorted = fits.filter(x => x.fit).sort((a, b) => (asked ? b.fit.sum - a.fit.sum : 0));
    shown = sorted.slice(0, SHOWN_MAX).map(x => ({ ...x.entry, hits: asked ? x.fit.hits : [] }));
    at = 0;
    list.replaceChildren();
    let section;
    shown.forEach((entry, n) => {
      if (entry.section !== section && !asked) list.append(el('li', { role: 'presentation' }, section = entry.section));
      list.append(option(entry, n, asked));
    });
    $('.nothing', palette).hidden = shown.length > 0;
    mark();
  };
  const search = async () => {
    const text = input.value.trim();
    try {
      const news = text ? await find(text, fixed) : [];
      if (input.value.trim() !== text) return;
      found = news;
      draw();
    } catch { /* pages and commands still serve */ }
  };

  palette.addEventListener('open', () => {
    input.value = '';
    found = [];
    draw();
    input.focus();
  });
  input.addEventListener('input', () => {
    draw();
    clearTimeout(timer);
    timer = setTimeout(search, TYPING_MS);
  });
  input.addEventListener('keydown', e => {
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      e.preventDefault();
      at = (at + (e.key === 'ArrowDown' ? 1 : shown.length - 1)) % (shown.length || 1);
      mark();
    }
    if (e.key === 'Enter' && shown[at]) {
      e.preventDefault();
      run(shown[at]);
    }
  });
}

const palette = $('.rail') && makePalette();
if (palette) {
  document.body.append(palette, makeKeyList());
  withPalette(palette);
}

let chord = 0; // when `g` was pressed
document.addEventListener('keydown', e => {
  if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k' && palette) {
    e.preventDefault();
    if (palette.open) palette.close();
    else open('palette');
    return;
  }
  if (!isCommand(e)) return;
  if (chord && Date.now() - chord < CHORD_MS) {
    chord = 0;
    const link = $(`.rail a[data-k="g ${CSS.escape(e.key)}"]`);
    if (!link) return;
    e.preventDefault();
    location = link.href;
    return;
  }
  if (e.key === 'g') chord = Date.now();
  if (e.key === '?') {
    e.preventDefault();
    open('keylist');
  }
  const box = e.key === '/' && $('#q, .log [type=search]');
  if (box) {
    e.preventDefault();
    box.focus();
    box.select();
  }
});
