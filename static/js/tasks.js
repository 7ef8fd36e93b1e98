// A task's own page while it runs, and the list of tasks.
import { $, $$ } from './dom.js';
import { follow, page, renew, watch } from './live.js';
import { logs } from './log.js';
import { addLine, showStep } from './steps.js';

const { dataset } = document.body;
const { kind, id } = page();

if (kind === 'task' && dataset.running !== undefined) {
  const log = logs.get('log'), steps = $('#steps');
  const begun = () => $('#waits')?.remove();
  log.live = true;
  follow(id, +dataset.seq, {
    log: line => { begun(); addLine(log, line); },
    progress: step => { begun(); showStep(steps, step); },
    end: () => location.reload(),
  });
}

if (kind === 'tasks') {
  const status = new Map($$('tr[data-id]').map(row => [row.dataset.id, row.dataset.status]));
  watch('/tasks' + dataset.query, news => {
    if (news.gone?.length || news.items.some(task => status.get(String(task.id)) !== task.status)) renew();
  });
}
