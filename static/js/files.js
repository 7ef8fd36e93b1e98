// A file goes to servers as it is: no form can send bytes alone. Which servers is said by the form, or by its address.
import { $, $$, html } from './dom.js';

const form = $('form[data-file]');
const why = form && $('[role=alert]', form);
form?.addEventListener('submit', async e => {
  e.preventDefault();
  const file = $('[type=file]', form).files[0];
  if (!file) return;
  const query = new URLSearchParams();
  for (const name of ['place', 'mode', 'owner', 'width', 'group_id']) {
    const value = form.elements[name]?.value;
    if (value) query.set(name === 'place' ? 'path' : name, value);
  }
  const picked = $$('[name=server_ids]:checked').map(box => box.value);
  if (form.dataset.file === '/api/actions/files' && picked.length) query.set('server_ids', picked.join(','));
  const button = $('button', form);
  button.disabled = true;
  why.hidden = true;
  try {
    const answer = await fetch(`${form.dataset.file}?${query}`, {
      method: 'POST',
      body: file,
      headers: { 'Content-Type': 'application/octet-stream', 'X-CSRF-Token': html.dataset.csrf },
    });
    const told = await answer.json();
    if (answer.ok) {
      location.href = `/tasks/${told.task_id}`;
      return;
    }
    const [wrong] = told.fields || [];
    why.textContent = wrong ? wrong.message : told.detail;
  } catch {
    why.textContent = form.dataset.lost;
  }
  why.hidden = false;
  button.disabled = false;
});
