// The editor of rules and scopes: rows with all, any and not, over the JSON that the form sends. Without script that text is
// edited itself. Hosts that a rule finds are asked for while somebody types.
import { $, $$, el, icon, put } from './dom.js';
import { api, rethrow } from './api.js';
import { t } from './words.js';

const OPS = ['contains', 'eq', 'ne', 'prefix', 'suffix', 'glob', 'in', 'gt', 'lt', 'exists'];
const DEPTH_MAX = 5;
const WAIT_MS = 350;
const blank = () => ({ field: 'tags', op: 'contains', value: '' });

// A rule as rows: a group is `{join, not, rows}`, everything else a condition.
function rows(rule) {
  const join = ['all', 'any'].find(name => name in rule);
  if (join) return { join, not: false, rows: rule[join].map(rows) };
  if (!rule.not) return { field: rule.field, op: rule.op, value: [rule.value ?? ''].flat().join(', ') };
  const inner = rows(rule.not);
  return inner.rows && !inner.not ? { ...inner, not: true } : { join: 'any', not: true, rows: [inner] };
}

function value({ op, value: text }) {
  if (op === 'in') return text.split(',').map(part => part.trim()).filter(Boolean);
  if (op === 'exists') return !['false', 'no', ''].includes(text);
  const number = Number(text.replace(',', '.'));
  return (op === 'gt' || op === 'lt') && text.trim() && Number.isFinite(number) ? number : text;
}

function rule(node) {
  if (!node.rows) return { field: node.field, op: node.op, value: value(node) };
  const inner = node.rows.map(rule).filter(Boolean);
  if (!inner.length) return null;
  const joined = inner.length === 1 ? inner[0] : { [node.join]: inner };
  return node.not ? { not: joined } : joined;
}

function edit(area) {
  const { fields, preview } = area.dataset;
  let root, timer, asked;
  try {
    root = area.value.trim() ? rows(JSON.parse(area.value)) : { join: 'all', not: false, rows: [] };
    if (!root.rows) root = { join: 'all', not: false, rows: [root] };
  } catch {
    return; // no rule: it is put right as text
  }
  const names = el('datalist', { id: `${area.id}-fields` }, ...fields.split(' ').map(name => el('option', { value: name })));
  const body = el('div', { cls: 'rule' });
  const found = el('p', { cls: 'hint', role: 'status' });

  async function look(said) {
    asked?.abort();
    asked = new AbortController();
    try {
      const { items, total } = await api(preview, { method: 'POST', body: { rule: said }, signal: asked.signal });
      const some = items.slice(0, 12).map(host => host.name).join(', ');
      put(found, t.rule.found(total) + (total ? `: ${some}${total > 12 ? ', …' : ''}` : ''));
    } catch (e) {
      rethrow(e);
      if (e.status) put(found, e.detail);
    }
  }
  function changed() {
    const said = rule(root);
    area.value = said ? JSON.stringify(said, null, 2) : '';
    clearTimeout(timer);
    if (!preview) return;
    if (said) timer = setTimeout(look, WAIT_MS, said);
    else put(found, '');
  }
  function redraw() {
    body.replaceChildren(draw(root, 1));
    changed();
  }
  function select(label, options, chosen, onchange) {
    const made = options.map(([key, text]) => el('option', { value: key, textContent: text, selected: key === chosen }));
    return el('select', { cls: 'inp', 'aria-label': label, onchange: e => onchange(e.target.value) }, ...made);
  }
  function remover(node, parent) {
    const onclick = () => {
      parent.rows.splice(parent.rows.indexOf(node), 1);
      redraw();
      $('input, select, button', body)?.focus();
    };
    const props = { cls: 'btn quiet ic sm', type: 'button', title: t.rule.remove, 'aria-label': t.rule.remove };
    return el('button', { ...props, onclick }, icon('trash'));
  }
  function text(label, node, name) {
    const oninput = e => {
      node[name] = e.target.value;
      changed();
    };
    return el('input', { cls: 'inp', value: node[name], 'aria-label': label, autocomplete: 'off', spellcheck: false, oninput });
  }
  function condition(node, parent) {
    const ops = OPS.map(op => [op, t.rule.ops[op]]);
    return el(
      'div',
      { cls: 'cond' },
      text(t.rule.field, node, 'field'),
      select(t.rule.op, ops, node.op, op => {
        node.op = op;
        changed();
      }),
      text(t.rule.value, node, 'value'),
      remover(node, parent),
    );
  }
  function draw(node, depth, parent) {
    if (!node.rows) return condition(node, parent);
    const kind = node.not ? (node.join === 'any' ? 'none' : 'notall') : node.join;
    const kinds = ['all', 'any', 'none', 'notall'].map(name => [name, t.rule[name]]);
    const add = (what, textContent) => {
      const onclick = () => {
        node.rows.push(what());
        redraw();
      };
      return el('button', { cls: 'btn sm', type: 'button', textContent, onclick });
    };
    const turn = to => {
      node.not = to === 'none' || to === 'notall';
      node.join = to === 'any' || to === 'none' ? 'any' : 'all';
      changed();
    };
    return el(
      'fieldset',
      { cls: 'joined', 'aria-label': t.rule.join },
      el('div', { cls: 'cond' }, select(t.rule.join, kinds, kind, turn), parent && remover(node, parent)),
      ...node.rows.map(row => draw(row, depth + 1, node)),
      el(
        'div',
        { cls: 'acts' },
        add(blank, t.rule.add),
        depth < DEPTH_MAX - 1 ? add(() => ({ join: 'any', not: false, rows: [blank()] }), t.rule.group) : null,
      ),
    );
  }
  area.hidden = true;
  area.after(names, body, found);
  redraw();
  body.addEventListener('focusin', e => {
    if (e.target.getAttribute('aria-label') === t.rule.field) e.target.setAttribute('list', names.id);
  });
}

$$('textarea[data-rule]').forEach(edit);
