// Tables: j, k and Enter walk, x picks, a table may be drawn closer, and the bar over many comes with the first tick.
import { $, $$, clamp, html } from './dom.js';

const BOXES = /^(checkbox|radio)$/;
const typing = e =>
  (/^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName) && !BOXES.test(e.target.type)) || e.target.isContentEditable;
// A key that is a command of one letter; they can be switched off.
export const isCommand = e =>
  !(typing(e) || e.ctrlKey || e.metaKey || e.altKey || html.dataset.keys === 'off' || $('dialog[open]'));

let current = -1;
document.addEventListener('keydown', e => {
  const rows = $$('table.walk tbody tr');
  if (!rows.length || !isCommand(e) || (e.key !== 'j' && e.key !== 'k')) return;
  rows[current]?.classList.remove('cur');
  current = clamp(current + (e.key === 'j' ? 1 : -1), 0, rows.length - 1);
  rows[current].classList.add('cur');
  $('a', rows[current]).focus({ preventScroll: true });
  rows[current].scrollIntoView({ block: 'nearest' });
});

$('button[data-density]')?.addEventListener('click', e => {
  const compact = html.dataset.density === 'compact';
  if (compact) delete html.dataset.density;
  else html.dataset.density = 'compact';
  e.currentTarget.setAttribute('aria-pressed', !compact);
});

function withBoxes(form) {
  const all = $('[data-all]', form), bar = $('[data-bar]', form);
  const boxes = $$('tbody [type=checkbox]', form);
  if (!all || !bar) return;
  const count = () => {
    const picked = boxes.filter(box => box.checked).length;
    bar.hidden = !picked;
    $('[data-picked]', form).textContent = picked;
    all.checked = picked === boxes.length;
    all.indeterminate = picked > 0 && picked < boxes.length;
  };
  all.addEventListener('change', () => {
    for (const box of boxes) box.checked = all.checked;
  });
  form.addEventListener('change', count);
  count(); // a browser keeps ticks over a reload
  document.addEventListener('keydown', e => {
    if (e.key !== 'x' || !isCommand(e) || !boxes[current]) return;
    boxes[current].checked = !boxes[current].checked;
    count();
  });
}
for (const form of $$('form[data-bulk]')) withBoxes(form);
