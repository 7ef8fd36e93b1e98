// A value from a file: read here, sent with the form, and never on the page.
import { $, $$ } from './dom.js';

for (const pick of $$('[type=file][data-max]')) {
  const form = pick.form;
  const typed = form.elements.value;
  let text = null;

  // What is wrong with the file, or null; `text` is what it says.
  const read = async file => {
    text = null;
    if (!file) return null;
    if (file.size > Number(pick.dataset.max)) return 'large';
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
    } catch {
      return 'bytes';
    }
    if (!text.includes('\0')) return null;
    text = null;
    return 'bytes';
  };

  pick.addEventListener('change', async () => {
    const button = $('button', form);
    button.disabled = true;
    const bad = await read(pick.files[0]);
    button.disabled = false;
    for (const note of $$('[data-bad]', form)) note.hidden = note.dataset.bad !== bad;
    if (bad) pick.value = '';
    typed.disabled = text !== null;
    if (form.elements.type && /^-----BEGIN [A-Z ]*PRIVATE KEY-----/m.test(text ?? '')) form.elements.type.value = 'private_key';
  });
  form.addEventListener('formdata', e => {
    if (text !== null) e.formData.set('value', text);
  });
}
