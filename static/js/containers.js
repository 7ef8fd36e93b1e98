// Containers: the list with the figures of now, and one container with its charts.
import { $, $$, put } from './dom.js';
import { unit } from './format.js';
import { page, renew, watch } from './live.js';
import { follow } from './lines.js';
import { load, mark, periods } from './figures.js';

const { dataset } = document.body;
const CHARTS_MS = 30e3;
const stateOf = c => `${c.state}/${c.health}/${c.troubles.join(' ')}`;

if (page().kind === 'containers') {
  watch('/containers' + dataset.query + (dataset.query ? '&' : '?') + 'limit=500', news => {
    const rows = new Map($$('tr[data-id]').map(row => [row.dataset.id, row]));
    for (const c of news.items) {
      const row = rows.get(String(c.id));
      if (!row || row.dataset.state !== stateOf(c)) return renew();
      for (const cell of $$('[data-v]', row)) put(cell, c.cpu_percent == null ? '' : unit(c.cpu_percent, '%'));
    }
  });
}

if (page().kind === 'container') {
  const { path } = dataset;
  mark($$('#happened [data-at]').map(row => ({ at: +row.dataset.at, name: $('div', row).textContent.trim() })));
  if (periods) {
    load(`${path}/stats`);
    setInterval(() => document.hidden || load(`${path}/stats`), CHARTS_MS);
  }
  watch(path, c => {
    if (dataset.state !== stateOf(c)) renew();
  });
  follow(`/api${path}/logs/stream`);
}
