// One request to the API with this page's session. Throws `{status, detail, code}` on a refusal, `{status: 0}` without an
// answer.
import { html } from './dom.js';
import { t } from './words.js';

export async function api(path, { method = 'GET', body, signal } = {}) {
  const headers = { Accept: 'application/json' };
  if (method !== 'GET') headers['X-CSRF-Token'] = html.dataset.csrf;
  if (body) headers['Content-Type'] = 'application/json';
  const sent = body && JSON.stringify(body);
  let answer;
  try {
    const options = { method, headers, body: sent, credentials: 'same-origin', cache: 'no-store', signal };
    answer = await fetch('/api' + path, options);
  } catch {
    throw { status: 0, detail: t.failed };
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  const detail = answer.status === 401 ? t.signIn : content.detail || t.failed;
  throw { status: answer.status, detail, code: content.error_code };
}

// A fault of ours and not a refusal: it belongs into the console.
export const rethrow = e => {
  if (e.status === undefined) throw e;
};
