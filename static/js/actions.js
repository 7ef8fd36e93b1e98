// Forms that act: a press answers at once, a second press does nothing.
import { $, $$ } from './dom.js';
import { t } from './words.js';
import { api, rethrow } from './api.js';
import { toast } from './toast.js';

// The button says what goes on and keeps its width.
function busy(button) {
  button.setAttribute('aria-busy', 'true');
  if (!button.dataset.busy) return;
  button.style.minWidth = button.offsetWidth + 'px';
  $('span', button).textContent = button.dataset.busy;
}

document.addEventListener('submit', e => {
  const button = e.submitter || $('button:not([type=button])', e.target);
  if (e.defaultPrevented || !button || e.target.method === 'get') return;
  const refused = ['aria-busy', 'aria-disabled'].some(name => button.getAttribute(name) === 'true');
  if (refused) e.preventDefault();
  else busy(button);
});
addEventListener('pageshow', e => {
  if (e.persisted) location.reload(); // a page out of the cache is not news
});

// Type the name to go on.
for (const input of $$('[data-must]')) {
  const button = $('button:not([type=button])', input.form);
  const check = () => button.setAttribute('aria-disabled', String(input.value !== input.dataset.must));
  input.addEventListener('input', check);
  check();
  input.form.addEventListener('submit', e => {
    if (input.value === input.dataset.must) return;
    e.preventDefault();
    input.setAttribute('aria-invalid', 'true');
    input.focus();
  });
}
$('.note[role=alert][tabindex]')?.focus(); // a refused form: its summary first

// A poll on demand: its answer is told, its numbers come with the next round.
async function probe(form, button) {
  const label = $('span', button), text = label.textContent;
  busy(button);
  try {
    const answer = await api(`/servers/${form.dataset.probe}/probe-glances`, { method: 'POST' });
    toast(`${t.probed(answer.took_ms)} ${answer.detail}`);
  } catch (e) {
    rethrow(e);
    toast(e.detail, { kind: 'fail' });
  }
  button.removeAttribute('aria-busy');
  label.textContent = text;
}
document.addEventListener('submit', e => {
  if (e.target.dataset.probe === undefined || e.defaultPrevented) return;
  e.preventDefault();
  probe(e.target, e.submitter);
}, true);
