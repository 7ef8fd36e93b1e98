// Theme: as the system has it → light → dark; told to the server, shown at once.
import { $, $$, html, iconRef } from './dom.js';
import { t } from './words.js';

const THEMES = ['auto', 'light', 'dark'];
const PICTURE = { auto: 'auto', light: 'sun', dark: 'moon' };
const after = theme => THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];

function set(theme) {
  if (theme === 'auto') delete html.dataset.theme;
  else html.dataset.theme = theme;
  for (const form of $$('[data-theme-form]')) {
    const button = $('button', form);
    button.value = after(theme);
    button.title = t.theme[theme];
    button.setAttribute('aria-label', t.theme[theme]);
    $('use', button).setAttribute('href', iconRef(PICTURE[theme]));
    const body = new URLSearchParams({ csrf: html.dataset.csrf, theme });
    fetch(form.action, { method: 'POST', body, redirect: 'manual' }).catch(() => {});
  }
  dispatchEvent(new Event('theme'));
}

export const switchTheme = () => set(after(html.dataset.theme || 'auto'));

document.addEventListener('submit', e => {
  if (e.target.dataset.themeForm === undefined) return;
  e.preventDefault();
  switchTheme();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => dispatchEvent(new Event('theme')));
