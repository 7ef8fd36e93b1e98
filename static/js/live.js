// What keeps a page true while it is open: the live view of the JSON that it shows, and for a task its log. The pill says
// what is known, with the age of the data. A page says in `<body data-live>` what it shows; nothing else knows where the
// news comes from.
import { $, html } from './dom.js';
import { ago, now } from './format.js';
import { t } from './words.js';
import { api, rethrow } from './api.js';

// A stream that has nothing to tell sends a ping so often; the page is told by the server.
const HEARTBEAT_MS = html.dataset.heartbeat * 1000;
// The first event comes at once, and then one at every heartbeat at the latest.
const FIRST_MS = HEARTBEAT_MS / 3, QUIET_MS = HEARTBEAT_MS * 4 / 3, STALE_MS = HEARTBEAT_MS * 5 / 3;
const POLL_MS = 10e3, POLL_MAX_MS = 60e3, HIDDEN_MS = 60e3;

export const page = () => ({
  kind: document.body.dataset.live,
  id: document.body.dataset.id,
  acts: document.body.dataset.acts !== undefined,
});

export const pill = {
  state: 'still',
  last: now(),
  fresh() {
    this.last = now();
    this.set('live');
  },
  set(state) {
    this.state = state;
    this.paint();
  },
  paint() {
    const e = $('.live');
    if (!e || this.state === 'still') return;
    const age = now() - this.last;
    const state = this.state === 'live' && age > STALE_MS ? 'wait' : this.state;
    const word = state === 'wait' ? t.wait : t.off;
    const text = state === 'live' ? t.live : `${word} · ${t.dataIs} ${ago(age)} ${t.old}`.trim();
    if (e.dataset.live !== state) e.dataset.live = state;
    if (e.textContent !== text) e.textContent = text;
  },
};
setInterval(() => pill.paint(), 1000);

// Polls while the page is visible; a hidden tab does not.
function poll(path, every, use) {
  let timer, failures = 0;
  const again = ms => {
    clearTimeout(timer);
    timer = setTimeout(ask, ms);
  };
  const ask = async () => {
    if (document.hidden) return;
    try {
      use(await api(path));
      failures = 0;
      pill.fresh();
      again(every);
    } catch (e) {
      rethrow(e);
      failures++;
      pill.set(e.status === 401 || failures > 3 ? 'off' : 'wait');
      again(Math.min(POLL_MAX_MS, every * 1.5 ** failures));
    }
  };
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) ask();
  });
  ask();
}

// A stream of events. If it is silent for longer than a heartbeat it is reconnected; if it was silent from the start twice
// (buffered by a proxy, or too many streams), `leave` switches to polling. A ping (from older daemons: a beat) counts like
// any other event. `on` has the handlers by event.
function hear(url, on, leave) {
  let source, timer, silences = 0;
  const events = Object.entries({ ping: () => {}, beat: () => {}, ...on });
  const expect = ms => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      source.close();
      if (++silences < 2) open();
      else leave();
    }, ms);
  };
  const open = () => {
    source = new EventSource(url());
    for (const [name, use] of events) {
      source.addEventListener(name, e => {
        silences = 0;
        pill.fresh();
        expect(QUIET_MS);
        use(JSON.parse(e.data), +e.lastEventId);
      });
    }
    source.onerror = () => {
      pill.set('wait');
      expect(source.readyState === EventSource.CLOSED ? 3e3 : QUIET_MS);
    };
    expect(FIRST_MS);
  };
  const close = () => {
    clearTimeout(timer);
    source.close();
  };
  const again = () => {
    if (source.readyState !== EventSource.CLOSED) return;
    silences = 0;
    open();
  };
  addEventListener('pagehide', close);
  open();
  return { close, again };
}

// What a page shows: told when it changes, and of a list only what has changed (`items`, `gone`). Where streams do not get
// through it is asked for instead. A hidden tab is quiet after a minute.
export function watch(path, use) {
  let hiding, left = false;
  const leave = () => {
    left = true;
    poll(path, POLL_MS, use);
  };
  const stream = hear(() => '/api/live?of=' + encodeURIComponent('/api' + path), { data: use }, leave);
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiding);
    if (left) return;
    if (document.hidden) hiding = setTimeout(stream.close, HIDDEN_MS);
    else stream.again();
  });
}

const pause = ms => new Promise(done => setTimeout(done, ms));

// Events of a task: its stream, or long polls. `on` has log({seq, ts, level, source, stream, line}),
// progress({step, steps, name, state}), end({status, …}).
export function follow(id, after, on) {
  let seq = after, done = false;
  const finish = e => {
    done = true;
    stream.close();
    on.end(e);
  };
  // A line, or a step as one; duplicates are dropped, whichever way they come.
  const tell = (n, use) => {
    if (n <= seq) return;
    seq = n;
    use();
  };
  const told = line => (line.source === 'progress' ? on.progress(JSON.parse(line.line)) : on.log(line));
  const ask = async () => {
    while (!done) {
      try {
        const news = await api(`/tasks/${id}/logs?after=${seq}&wait=20`);
        pill.fresh();
        for (const line of news.items) tell(line.seq, () => told(line));
        if (news.end) finish(news.end);
        else if (!news.items.length) await pause(1000); // too many wait: it was answered at once
      } catch (e) {
        rethrow(e);
        const lost = e.status === 401 || e.status === 404;
        pill.set(lost ? 'off' : 'wait');
        if (lost) return;
        await pause(5000);
      }
    }
  };
  const events = {
    log: (line, n) => tell(n, () => on.log({ ...line, seq: n })),
    progress: (step, n) => tell(n, () => on.progress(step)),
    end: finish,
  };
  const stream = hear(() => `/api/tasks/${id}/stream?after=${seq}`, events, ask);
}

// Lines as they come, after this number; each once, whatever is sent again after a lost connection.
export function lines(url, after, use) {
  let seq = after;
  const tell = (line, n) => {
    if (n <= seq) return;
    seq = n;
    use(line, n);
  };
  hear(() => `${url}${url.includes('?') ? '&' : '?'}after=${seq}`, { log: tell }, () => pill.set('off'));
}

// The page's texts are outdated: reload it, unless the user is in the middle of something.
// Not more often than every 20 s, whatever the server says.
let later;
export function renew() {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName);
  const busy = typing || $('dialog[open]') || $('.menu[open]') || !getSelection().isCollapsed;
  if (busy || Date.now() - (sessionStorage.renewed || 0) < 20e3) {
    clearTimeout(later);
    later = setTimeout(renew, 5e3);
    return;
  }
  sessionStorage.renewed = Date.now();
  location.reload();
}

// What is drawn for a server's state, and whether a page shows it as it is now: its lamp, its silence, its open alerts.
export const LAMP = { up: 'lit', pending: 'unlit', degraded: 'flick', down: 'dark' };
export const alertsOf = server => `${server.alerts.worst?.id ?? ''}/${server.alerts.open}`;
export const shows = (e, lamp, server) =>
  lamp.classList.contains('s-' + LAMP[server.state]) &&
  lamp.classList.contains('hush') === !!server.silenced_until &&
  e.dataset.a === alertsOf(server);
