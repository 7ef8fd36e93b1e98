// What is dangerous asks who it is, in a dialog, and then goes on with what was asked. Without script the server asks on a
// page of its own.
import { $ } from './dom.js';
import { t } from './words.js';
import { api } from './api.js';
import { open } from './dialogs.js';

const dialog = $('#confirm'), form = dialog && $('form', dialog);
let waiting;

function goOn() {
  const [asked, button] = waiting;
  waiting = undefined;
  asked.dataset.confirmed = '';
  asked.requestSubmit(button);
}

// Who has shown it a moment ago is not asked again.
async function ask(asked, button) {
  waiting = [asked, button];
  const me = await api('/auth/me').catch(() => ({}));
  if (me.confirmed_until && new Date(me.confirmed_until) - Date.now() > 5000) return goOn();
  form.reset();
  $('.err', dialog).hidden = true;
  open('confirm');
}

document.addEventListener('submit', e => {
  const asked = e.target;
  if (!dialog || asked.dataset.confirm === undefined || asked.dataset.confirmed !== undefined) return;
  e.preventDefault();
  ask(asked, e.submitter);
}, true);

form?.addEventListener('submit', async e => {
  e.preventDefault();
  const data = new FormData(form), password = data.get('confirm_password'), totp = data.get('confirm_totp');
  try {
    await api('/me/confirm', { method: 'POST', body: password ? { password } : { totp: totp || '' } });
    dialog.close();
    goOn();
  } catch (e) {
    const place = $('.err', dialog);
    place.textContent = e.code === 'wrong_confirmation' ? t.wrongConfirmation : e.detail || t.failed;
    place.hidden = false;
    $('input', dialog).focus();
  }
});
