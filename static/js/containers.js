// Containers: the list with the figures of now, and one container with its charts and the lines of its log as they come.
import { $$, put } from './dom.js';
import { unit } from './format.js';
import { lines, page, renew, watch } from './live.js';
import { logs } from './log.js';
import { load, periods } from './figures.js';

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

function kindOf(line) {
  if (line.stream === 'note') return 'st';
  if (line.level === 'error' || line.level === 'critical') return 'e';
  if (line.level === 'warning') return 'w';
  return line.stream === 'stderr' ? 'x' : '';
}

if (page().kind === 'container') {
  const { path } = dataset, log = logs.get('log');
  if (periods) {
    load(`${path}/stats`);
    setInterval(() => document.hidden || load(`${path}/stats`), CHARTS_MS);
  }
  watch(path, c => {
    if (dataset.state !== stateOf(c)) renew();
  });
  if (dataset.running !== undefined) {
    lines(`/api${path}/logs/stream`, +dataset.seq, (line, seq) => {
      log.append({ seq, at: Date.parse(line.ts), kind: kindOf(line), text: line.line });
    });
  }
}
