// An action whose form names a task: started through the API and shown in the dialog of this page. When it cannot be
// started so, the form goes on as without script.
import { $, put } from './dom.js';
import { ago, now } from './format.js';
import { t } from './words.js';
import { api, rethrow } from './api.js';
import { follow } from './live.js';
import { logs } from './log.js';
import { addLine, showStep } from './steps.js';

const END = { ok: 'ok', failed: 'fail', cancelled: 'skip', interrupted: 'fail' };
const dialog = $('#progress'), glyph = $('header .g', dialog), cancel = $('#pcancel'), steps = $('#psteps');
const log = logs.get('plog');
let task, ended, clock;

function show(id, title) {
  const began = now();
  task = id;
  ended = false;
  log.clear();
  steps.replaceChildren();
  put($('#pt'), title);
  glyph.className = 'g s-run';
  $('#plink').href = '/tasks/' + id;
  cancel.hidden = false;
  clearInterval(clock);
  clock = setInterval(() => put($('#pel'), ago(now() - began)), 500);
  dialog.showModal();
  follow(id, 0, { log: line => addLine(log, line), progress, end });
}

function progress(step) {
  showStep(steps, step);
  put($('#pnow'), t.step(step.step, step.steps));
}

function end({ status }) {
  ended = true;
  clearInterval(clock);
  glyph.className = 'g s-' + (END[status] || 'fail');
  put($('#pnow'), t.ended[status] || status);
  cancel.hidden = true;
  put($('#pclose'), t.close);
  log.follow(true);
}

dialog.addEventListener('close', () => {
  if (ended) location.reload();
});
cancel.addEventListener('click', async () => {
  cancel.setAttribute('aria-busy', 'true');
  try {
    await api(`/tasks/${task}/cancel`, { method: 'POST' });
  } catch (e) {
    rethrow(e); // the stream tells the outcome
  }
  cancel.removeAttribute('aria-busy');
});

async function start(form, title) {
  const fields = [...new FormData(form)].filter(([name]) => name !== 'csrf');
  const body = fields.length ? Object.fromEntries(fields) : undefined;
  try {
    const answer = await api(new URL(form.action).pathname, { method: 'POST', body });
    show(answer.task_id, title);
  } catch {
    form.submit(); // the page that answers says why
  }
}
document.addEventListener('submit', e => {
  const form = e.target;
  if (!form.dataset.task || e.defaultPrevented) return;
  e.preventDefault();
  form.closest('dialog')?.close();
  form.closest('.menu')?.removeAttribute('open');
  start(form, e.submitter.textContent.trim());
}, true);
