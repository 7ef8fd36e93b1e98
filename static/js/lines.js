// The lines of a log as they are stored: of one that speaks, or of several.
import { $$ } from './dom.js';
import { lines, page } from './live.js';
import { logs } from './log.js';

const { dataset } = document.body;

function kindOf(line) {
  if (line.stream === 'note') return 'st';
  if (line.level === 'error' || line.level === 'critical') return 'e';
  if (line.level === 'warning') return 'w';
  return line.stream === 'stderr' ? 'x' : '';
}

const lineOf = (line, seq) => ({ seq, at: Date.parse(line.ts), kind: kindOf(line), text: line.line });

// The log of a page goes on with the lines of this stream.
export function follow(path) {
  if (dataset.running === undefined) return;
  const log = logs.get('log');
  lines(path + dataset.query, +dataset.seq, (line, seq) => log.append(lineOf(line, seq)));
}

if (page().kind === 'logs' && dataset.running !== undefined) {
  const log = logs.get('found');
  const names = new Map($$('#server_id option').map(option => [option.value, option.textContent.trim()]));
  lines(`/api/log-search/stream${dataset.query}`, +dataset.seq, (line, seq) => {
    const server = line.server_id === 'local' ? 'local' : names.get(String(line.server_id)) || line.server_id;
    const path = line.service ? `/services/${line.service}` : `/containers/${line.container_id}`;
    const of = [`${server}/${line.service || line.container}`, `${path}?at=${line.cursor}#L${seq}`];
    log.append({ ...lineOf(line, seq), of });
  });
}
