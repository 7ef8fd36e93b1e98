// Elements: found, made and filled. Nothing here makes markup out of text: `require-trusted-types-for 'script'` holds.
export const html = document.documentElement;
export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

export function el(tag, props = {}, ...kids) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === 'cls') e.className = value;
    else if (name in e && name !== 'role') e[name] = value;
    else e.setAttribute(name, value);
  }
  e.append(...kids.filter(kid => kid != null));
  return e;
}

export function svg(tag, attributes = {}, ...kids) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...kids);
  return e;
}

const sheet = new URL('icons.svg', import.meta.url).pathname;
export const iconRef = name => `${sheet}#${name}`;
export const icon = name => svg('svg', { class: 'i', 'aria-hidden': 'true' }, svg('use', { href: iconRef(name) }));

// Sets a text only when it is another one: a screen reader says what is set.
export const put = (e, text) => {
  if (e && e.textContent !== text) e.textContent = text;
};

export const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// A colour from a token, resolved for the place where it is used (works inside .night too).
export function ink(place, token) {
  const probe = document.createElement('i');
  probe.style.color = `var(--${token})`;
  probe.style.display = 'none';
  probe.style.forcedColorAdjust = 'none';
  place.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}
