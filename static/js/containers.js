// Containers: the list with the figures of now, and one container with its charts and the lines of its log as they come.
import { $, $$, put } from './dom.js';
import { unit } from './format.js';
import { lines, page, renew, watch } from './live.js';
import { logs } from './log.js';
import { load, mark, periods } from './figures.js';

const { dataset } = document.body;
const CHARTS_MS = 30e3;
const names = new Map($$('#server_id option').map(option => [option.value, option.textContent.trim()]));
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

const lineOf = (line, seq) => ({ seq, at: Date.parse(line.ts), kind: kindOf(line), text: line.line });

if (page().kind === 'container') {
  const { path } = dataset, log = logs.get('log');
  mark($$('#happened [data-at]').map(row => ({ at: +row.dataset.at, name: $('div', row).textContent.trim() })));
  if (periods) {
    load(`${path}/stats`);
    setInterval(() => document.hidden || load(`${path}/stats`), CHARTS_MS);
  }
  watch(path, c => {
    if (dataset.state !== stateOf(c)) renew();
  });
  if (dataset.running !== undefined) {
    lines(`/api${path}/logs/stream${dataset.query}`, +dataset.seq, (line, seq) => log.append(lineOf(line, seq)));
  }
}

if (page().kind === 'logs' && dataset.running !== undefined) {
  const log = logs.get('found');
  lines(`/api/log-search/stream${dataset.query}`, +dataset.seq, (line, seq) => {
    const server = line.server_id === 'local' ? 'local' : names.get(String(line.server_id)) || line.server_id;
    const href = `/containers/${line.container_id}?at=${line.cursor}#L${seq}`;
    log.append({ ...lineOf(line, seq), of: [`${server}/${line.container}`, href] });
  });
}
