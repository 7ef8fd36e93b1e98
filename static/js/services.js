// Services: the list with the figures of now, and one service with its charts.
import { $, $$, put } from './dom.js';
import { unit } from './format.js';
import { page, renew, watch } from './live.js';
import { load, periods } from './figures.js';
import { follow } from './lines.js';

const { dataset } = document.body;
const CHARTS_MS = 30e3;
const stateOf = s => `${s.health}/${s.state}/${s.enabled}`;

if (page().kind === 'services') {
  watch('/services' + dataset.query + (dataset.query ? '&' : '?') + 'limit=500', news => {
    const rows = new Map($$('tr[data-id]').map(row => [row.dataset.id, row]));
    if (news.services.length !== rows.size && news.total <= 500) return renew();
    for (const s of news.services) {
      const row = rows.get(String(s.id));
      if (!row || row.dataset.state !== stateOf(s)) return renew();
      for (const cell of $$('[data-v]', row)) put(cell, s.cpu_percent == null ? '' : unit(s.cpu_percent, '%'));
    }
  });
}

if (page().kind === 'service') {
  const { path } = dataset;
  if (periods) {
    load(`${path}/stats`);
    setInterval(() => document.hidden || load(`${path}/stats`), CHARTS_MS);
  }
  follow(`/api${path}/logs/stream`);
  watch(path, s => {
    if (dataset.state !== stateOf(s)) renew();
  });
}
