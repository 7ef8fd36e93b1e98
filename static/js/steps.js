// A task's lines and steps, on its own page and in the dialog of the page that started it.
import { $, el, put } from './dom.js';
import { ago, unit } from './format.js';
import { t } from './words.js';

const GLYPH = { running: 'run', ok: 'ok', changed: 'ok', failed: 'fail', skipped: 'skip', waiting: 'wait' };

function kindOf(line) {
  if (line.level === 'error') return 'e';
  if (line.level === 'warning') return 'w';
  if (line.stream === 'stderr') return 'x';
  return { step: 'st', command: 'cmd' }[line.source] ?? '';
}

export const addLine = (log, line) =>
  log.append({ seq: line.seq, at: Date.parse(line.ts), kind: kindOf(line), text: line.line });

function newStep(list, progress) {
  const name = el('span', {}, el('span', { cls: 'vh' }), el('span', { cls: 't' }, progress.title || progress.name));
  const item = el('li', { 'data-step': progress.name }, el('i'), name, el('span', { cls: 'd' }));
  $('.none', list)?.remove();
  list.append(item);
  return item;
}

export function showStep(list, progress) {
  const known = [...list.children].find(item => item.dataset.step === progress.name);
  const item = known || newStep(list, progress), glyph = GLYPH[progress.state] || 'wait';
  item.firstElementChild.className = 'g s-' + glyph;
  put($('.vh', item), t.states[glyph] + ': ');
  item.classList.toggle('now', glyph === 'run' || glyph === 'fail');
  item.classList.toggle('bad', glyph === 'fail');
  if (progress.ms != null && glyph !== 'run') {
    put($('.d', item), progress.ms < 10e3 ? unit(progress.ms / 1000, t.u[0]) : ago(progress.ms));
  }
  item.scrollIntoView({ block: 'nearest' });
}
