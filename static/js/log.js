// The log viewer. Lines stay in the document, so the browser's own Ctrl-F finds them; follow lets go the moment you scroll
// up and says what you are missing.
import { $, $$, el } from './dom.js';
import { clockSeconds } from './format.js';
import { t } from './words.js';

const COLOUR = /\x1b\[([0-9;]*)m/g;
const OTHER_ESCAPES = /\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]/g;
const TIME_CLOCK = 0, TIME_ELAPSED = 1, TIME_OFF = 2;

// Colours of a terminal become classes; all other escapes are dropped.
function ansi(to, text) {
  let classes = new Set(), from = 0, match;
  const put = part => {
    const clean = part.replace(OTHER_ESCAPES, '');
    if (clean) to.append(classes.size ? el('b', { cls: [...classes].join(' ') }, clean) : clean);
  };
  COLOUR.lastIndex = 0;
  while ((match = COLOUR.exec(text))) {
    put(text.slice(from, match.index));
    from = COLOUR.lastIndex;
    for (const code of (match[1] || '0').split(';').map(Number)) classes = turned(classes, code);
  }
  put(text.slice(from));
}

function turned(classes, code) {
  const colour = (code > 29 && code < 38) || (code > 89 && code < 98);
  const without = pattern => new Set([...classes].filter(name => !pattern.test(name)));
  if (!code) return new Set();
  if (code === 39) return without(/^a[39]\d/);
  if (code === 22) return without(/^a[12]$/);
  if (colour) return without(/^a[39]\d/).add('a' + code);
  return code < 5 ? classes.add('a' + code) : classes;
}

// The range of `length` characters of the text below `root`.
function range(root, at, length) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), found = document.createRange();
  let node, passed = 0, begun = false;
  while ((node = walker.nextNode())) {
    if (!begun && at < passed + node.length) {
      found.setStart(node, at - passed);
      begun = true;
    }
    if (begun && at + length <= passed + node.length) {
      found.setEnd(node, at + length - passed);
      return found;
    }
    passed += node.length;
  }
}

const highlight = (name, ...ranges) => {
  if (globalThis.Highlight) CSS.highlights.set(name, new Highlight(...ranges));
};

class Log {
  constructor(root) {
    this.root = root;
    this.lines = $('.lines', root);
    this.box = $('[type=search]', root);
    this.following = root.dataset.follow !== undefined;
    this.times = TIME_CLOCK;
    this.missed = 0;
    this.hits = [];
    this.hit = -1;
    this.error = -1;
    this.colour();
    const follow = () => this.follow(true);
    this.jump = el('button', { cls: 'btn sm jump', type: 'button', hidden: true, onclick: follow });
    root.append(this.jump);
    this.listen();
    if (innerWidth < 720) {
      this.lines.classList.add('wrap');
      this.button('wrap')?.setAttribute('aria-pressed', 'true');
    }
    this.paint();
    if (this.following) this.toEnd();
  }

  button(name) {
    return $(`[data-log=${name}]`, this.root);
  }

  // Lines that came with the page have their escapes still.
  colour() {
    for (const span of $$('.lines span', this.root)) {
      if (!/[␛\x1b]/.test(span.textContent)) continue;
      const of = $('.of', span), text = span.lastChild.textContent.replaceAll('␛', '\x1b');
      span.replaceChildren(...(of ? [of, ' '] : []));
      ansi(span, text.trimStart());
    }
  }

  listen() {
    this.lines.addEventListener('scroll', () => this.scrolled(), { passive: true });
    this.root.addEventListener('click', e => {
      const button = e.target.closest('[data-log]');
      if (button) this.press(button);
    });
    this.box?.addEventListener('input', () => this.find(this.box.value));
    this.box?.addEventListener('keydown', e => {
      if (e.key === 'Enter') {
        e.preventDefault();
        this.go(e.shiftKey ? -1 : 1);
      }
      if (e.key === 'Escape') {
        this.box.value = '';
        this.find('');
      }
    });
    this.lines.addEventListener('click', e => {
      const line = e.target.closest('li');
      if (!line || !getSelection().isCollapsed) return;
      this.point(line);
      history.replaceState(null, '', '#' + line.id);
    });
    this.lines.addEventListener('dblclick', e => {
      if (!this.lines.classList.contains('only')) return;
      this.button('only')?.click();
      this.show(e.target.closest('li'));
    });
  }

  scrolled() {
    if (this.scrolling) {
      this.scrolling = false; // our own scroll
      return;
    }
    const end = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < 8;
    if (this.live && end !== this.following) this.follow(end);
  }

  press(button) {
    const turnOn = button.getAttribute('aria-pressed') !== 'true';
    const toggle = name => {
      this.lines.classList.toggle(name, turnOn);
      button.setAttribute('aria-pressed', turnOn);
    };
    const acts = {
      follow: () => this.follow(!this.following),
      wrap: () => toggle('wrap'),
      only: () => {
        toggle('only');
        this.count();
      },
      time: () => {
        this.times = (this.times + 1) % 3;
        this.stampAll();
        button.title = t.times[this.times];
      },
      prev: () => this.go(-1),
      next: () => this.go(1),
      err: () => this.nextError(),
    };
    acts[button.dataset.log]?.();
  }

  nextError() {
    const errors = $$('.e', this.lines);
    if (!errors.length) return;
    this.error = (this.error + 1) % errors.length;
    this.show(errors[this.error]);
  }

  clear() {
    this.lines.replaceChildren();
    this.missed = 0;
    this.began = undefined;
    this.live = true;
    this.follow(true);
  }

  toEnd() {
    const before = this.lines.scrollTop;
    this.lines.scrollTop = 1e9;
    if (this.lines.scrollTop !== before) this.scrolling = true;
  }

  // `of`: whose line it is, as name and address.
  append({ seq, at, kind, text, of }) {
    const time = el('time', { dateTime: new Date(at).toISOString() }, clockSeconds(at)), span = el('span');
    if (of) span.append(el('a', { cls: 'of', href: of[1] }, of[0]), ' ');
    ansi(span, text);
    this.began ??= at;
    if (this.times) this.stamp(time);
    this.lines.append(el('li', { id: (this.root.dataset.p || 'L') + seq, cls: kind || '' }, time, span));
    this.live = true;
    if (this.following) this.toEnd();
    else {
      this.missed++;
      this.paint();
    }
    if (this.box?.value) this.find(this.box.value, true);
  }

  follow(on) {
    this.following = on;
    if (on) {
      this.missed = 0;
      this.toEnd();
    }
    this.paint();
  }

  paint() {
    this.button('follow')?.setAttribute('aria-pressed', this.following);
    this.jump.hidden = this.following || !this.missed;
    this.jump.textContent = '↓ ' + t.lines(this.missed);
  }

  stamp(time) {
    const at = Date.parse(time.dateTime);
    time.textContent = this.times === TIME_ELAPSED ? '+' + elapsed((at - this.began) / 1000) : clockSeconds(at);
  }

  stampAll() {
    const times = $$('time', this.lines);
    this.began ??= Date.parse(times[0]?.dateTime);
    this.lines.classList.toggle('notime', this.times === TIME_OFF);
    for (const time of times) this.stamp(time);
  }

  // Marks by the Highlight API: no change of the document, the selection survives.
  find(text, quiet) {
    const wanted = text.toLowerCase();
    this.hits = [];
    for (const line of this.lines.children) {
      const hits = wanted ? hitsIn(line, wanted) : [];
      this.hits.push(...hits);
      line.classList.toggle('hit', hits.length > 0);
    }
    highlight('find', ...this.hits.map(hit => hit.range));
    if (!quiet) {
      this.hit = -1;
      this.go(1);
    }
    this.count();
  }

  go(by) {
    if (!this.hits.length) return;
    this.hit = (this.hit + by + this.hits.length) % this.hits.length;
    const hit = this.hits[this.hit];
    highlight('find-on', hit.range);
    this.show(hit.line);
    this.count();
  }

  show(line) {
    this.point(line);
    this.lines.scrollTop = line.offsetTop - this.lines.offsetTop - this.lines.clientHeight / 3;
  }

  point(line) {
    this.following = false;
    this.paint();
    for (const other of $$('.at', this.lines)) other.classList.remove('at');
    line.classList.add('at');
  }

  count() {
    const output = $('output', this.root);
    if (!output) return;
    const found = this.hits.length ? `${Math.max(1, this.hit + 1)} ${t.of} ${this.hits.length}` : t.none;
    output.textContent = this.box.value ? found : '';
  }
}

function hitsIn(line, wanted) {
  const span = line.lastElementChild, text = span.textContent.toLowerCase(), hits = [];
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
    const found = range(span, at, wanted.length);
    if (found) hits.push({ line, range: found });
  }
  return hits;
}

function elapsed(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} ${t.u[0]}`;
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;
}

export const logs = new Map($$('.log').map(root => [root.id, new Log(root)]));

const logOf = line => logs.get(line?.closest('.log')?.id);
for (const link of $$('[data-goto]')) {
  link.addEventListener('click', e => {
    const line = $(link.getAttribute('href')), log = logOf(line);
    if (!log) return;
    e.preventDefault();
    log.show(line);
  });
}
if (/^#L\d+$/.test(location.hash)) {
  const line = $(location.hash);
  logOf(line)?.show(line);
}
