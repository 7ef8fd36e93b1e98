// The overview: the lamps of the wall, with one tooltip for them all; and the first hour, which becomes it.
import { $, $$, clamp, el } from './dom.js';
import { ago, now } from './format.js';
import { t } from './words.js';
import { page, renew, shows, watch } from './live.js';
import './canvas.js';

const LIMIT = 500;
const kind = page().kind;

// A lamp that changes its state changes the sentence, too.
function watchLamps() {
  const lamps = new Map($$('.lamps a').map(lamp => [lamp.dataset.id, lamp]));
  const update = server => {
    const lamp = lamps.get(String(server.id)), sample = server.last_sample;
    if (!lamp || !shows(lamp, lamp, server)) return false;
    if (!sample) return true;
    const shares = [sample.cpu_percent, sample.mem_percent, sample.disk_max_percent ?? sample.disk_percent];
    lamp.dataset.t = Date.parse(sample.ts);
    lamp.dataset.m = shares.map(v => (v == null ? '' : Math.round(v))).join(' ');
    return true;
  };
  watch(`/servers?limit=${LIMIT}`, news => {
    if (!news.items.every(update)) renew();
    else if (news.total !== lamps.size && news.total <= LIMIT) renew();
  });
}

// The page becomes the overview when a lamp is lit.
function watchFirstLamps() {
  const lamps = new Map();
  let before;
  watch(`/servers?limit=${LIMIT}`, news => {
    for (const server of news.items) lamps.set(server.id, server.state + server.host_key_state);
    for (const id of news.gone ?? []) lamps.delete(id);
    const is = JSON.stringify([...lamps]);
    if (before !== undefined && before !== is) renew();
    before = is;
  });
}

// The tooltip, by mouse and by keyboard.
const tip = $('#tip');
const stateOf = lamp => [...lamp.classList].map(name => name.slice(2)).find(name => t.states[name]) || 'unlit';

function showTip(lamp) {
  const [cpu, mem, disk] = (lamp.dataset.m || '').split(' '), state = stateOf(lamp), at = lamp.dataset.t;
  const share = (name, value) => `${name} ${value || '–'} %`;
  const figures = [share(t.cpu, cpu), share(t.mem, mem), share(t.disk, disk)].join(' · ');
  tip.replaceChildren(
    el('b', {}, lamp.textContent.split(',')[0]),
    el('span', { cls: 'state s-' + state }, el('i', { cls: 'g' }), t.states[state]),
    lamp.classList.contains('hush') ? el('small', {}, t.hush) : '',
    lamp.dataset.r ? el('small', {}, lamp.dataset.r) : '',
    el('small', {}, at ? `${figures} · ${ago(now() - at, 'ago')}` : t.never));
  tip.hidden = false;
  const box = lamp.getBoundingClientRect(), w = tip.offsetWidth, above = box.top - tip.offsetHeight - 6;
  tip.style.left = clamp(box.left + box.width / 2 - w / 2, 8, innerWidth - w - 8) + 'px';
  tip.style.top = (above > 60 ? above : box.bottom + 6) + 'px';
}

function withTip(street) {
  const hide = () => {
    tip.hidden = true;
  };
  street.addEventListener('mouseover', e => {
    const lamp = e.target.closest('a');
    if (lamp) showTip(lamp);
  });
  street.addEventListener('mouseleave', hide);
  street.addEventListener('focusin', e => showTip(e.target));
  street.addEventListener('focusout', hide);
  street.addEventListener('keydown', e => { // arrows walk the street
    const row = Math.max(1, Math.floor(street.clientWidth / e.target.offsetWidth));
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row }[e.key];
    if (!by) return;
    e.preventDefault();
    const lamps = $$('.lamps a');
    lamps[clamp(lamps.indexOf(e.target) + by, 0, lamps.length - 1)].focus();
  });
}
for (const street of $$('.lamps')) withTip(street);

// A name of the legend dims all lamps but its own.
const dim = (only, on) => {
  for (const street of $$('.lamps')) {
    street.classList.toggle('dim', on);
    for (const lamp of street.children) lamp.classList.toggle('on', on && lamp.classList.contains(only));
  }
};
for (const name of $$('[data-only]')) {
  for (const event of ['mouseenter', 'focus']) name.addEventListener(event, () => dim(name.dataset.only, true));
  for (const event of ['mouseleave', 'blur']) name.addEventListener(event, () => dim(name.dataset.only, false));
}

if (kind === 'home') watchLamps();
if (kind === 'welcome') watchFirstLamps();
