// Menus are <details> and dialogs <dialog>; here they open, close, and answer to keys.
import { $, $$ } from './dom.js';
import { t } from './words.js';
import { toast } from './toast.js';

document.addEventListener('click', e => {
  for (const menu of $$('.menu[open]')) if (!menu.contains(e.target)) menu.open = false;
});
document.addEventListener('keydown', e => {
  const menu = e.target.closest?.('.menu[open]');
  if (!menu) return;
  if (e.key === 'Escape') {
    menu.open = false;
    $('summary', menu).focus();
    e.stopPropagation();
  }
  const down = e.key === 'ArrowDown';
  if (!down && e.key !== 'ArrowUp') return;
  e.preventDefault();
  const entries = $$('.mi', menu).filter(entry => entry.offsetWidth);
  const at = entries.indexOf(document.activeElement);
  entries.at((at + (down ? 1 : at < 0 ? 0 : -1)) % entries.length)?.focus();
});

export function open(id) {
  const dialog = document.getElementById(id);
  if (!dialog || dialog.open) return;
  dialog.showModal();
  dialog.dispatchEvent(new Event('open'));
}

document.addEventListener('click', e => {
  const opener = e.target.closest('[data-open]');
  if (opener && document.getElementById(opener.dataset.open)) {
    e.preventDefault();
    opener.closest('.menu')?.removeAttribute('open');
    open(opener.dataset.open);
  }
  const closer = e.target.closest('[data-close]');
  if (closer) {
    e.preventDefault();
    closer.closest('dialog').close();
  }
  const copier = e.target.closest('[data-copy]');
  if (copier) {
    const source = copier.dataset.copy ? $(copier.dataset.copy) : copier.previousElementSibling;
    navigator.clipboard?.writeText(source.textContent.trim()).then(() => toast(t.copied));
  }
});
document.addEventListener('mousedown', e => {
  if (e.target.tagName === 'DIALOG' && !e.target.dataset.sticky) e.target.close();
});
