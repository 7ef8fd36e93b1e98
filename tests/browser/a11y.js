// A small accessibility check. Evaluated in the page; its value is a list of {rule, text, where}.
// What something is called and what it is (computedName, computedRole) is asked of the browser, which must
// run with the blink feature ComputedAccessibilityInfo; nothing is guessed here.
(() => {
    const problems = [];
    const all = (selector, root = document) => [...root.querySelectorAll(selector)];
    const named = e => e.computedName.trim() !== '';
    const shown = e => e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length > 0;
    const where = e => {
        const id = e.id ? `#${e.id}` : '', cls = e.classList.length ? `.${[...e.classList].join('.')}` : '';
        const text = e.textContent.trim().replace(/\s+/g, ' ').slice(0, 30);
        return `${e.tagName.toLowerCase()}${id}${cls}${text ? ` "${text}"` : ''}`;
    };
    const say = (rule, text, e) => problems.push({rule, text, where: e ? where(e) : ''});

    // -- the page
    if (!document.documentElement.lang) say('lang', 'the page does not say its language');
    if (!document.title.trim()) say('title', 'the page has no title');
    const viewport = document.querySelector('meta[name=viewport]')?.content ?? '';
    if (/user-scalable\s*=\s*no|maximum-scale\s*=\s*1\b/.test(viewport)) say('zoom', 'the page forbids zooming');
    const ids = new Map();
    for (const e of all('[id]')) ids.set(e.id, (ids.get(e.id) ?? 0) + 1);
    for (const [id, n] of ids) if (n > 1) say('unique-id', `${n} elements have the id "${id}"`);
    // A pixel of rounding is no scrolling.
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth + 1) say('reflow', `scrolls sideways: ${root.scrollWidth} px in ${root.clientWidth}`);

    // -- landmarks and headings
    const mains = all('main, [role=main]').filter(shown);
    if (mains.length !== 1) say('landmark', `${mains.length} main landmarks instead of 1`);
    for (const kind of ['nav', 'aside']) {
        const same = all(kind).filter(shown);
        if (same.length > 1) for (const e of same) if (!named(e)) say('landmark', `one of ${same.length} <${kind}> and not told apart by a name`, e);
    }
    const headings = all('h1, h2, h3, h4, h5, h6').filter(shown);
    const h1 = headings.filter(h => h.tagName === 'H1').length;
    if (h1 !== 1) say('h1', `${h1} h1 instead of 1`);
    let level = 0;
    for (const h of headings) {
        const next = Number(h.tagName[1]);
        if (level && next > level + 1) say('heading-order', `h${next} after h${level}`, h);
        if (!named(h)) say('heading-order', 'an empty heading', h);
        level = next;
    }

    // -- names
    const controls = all('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex], [contenteditable=true], '
        + '[role=button], [role=link], [role=checkbox], [role=switch], [role=tab], [role=menuitem], [role=option], [role=combobox]').filter(shown);
    const widget = e => !['generic', 'none', 'presentation', ''].includes(e.computedRole) && e.getAttribute('tabindex') !== '-1';
    for (const e of controls) if (widget(e) && !named(e)) say('name', `a ${e.computedRole} without a name`, e);
    for (const e of all('input:not([type=hidden], [type=submit], [type=button], [type=reset]), select, textarea').filter(shown))
        // A placeholder goes away with the first letter.
        if (!e.labels?.length && !e.ariaLabel && !e.hasAttribute('aria-labelledby') && !e.title) say('label', 'a field without a label', e);
    for (const e of all('img').filter(shown)) if (!e.hasAttribute('alt')) say('alt', 'a picture without alt', e);
    for (const e of all('svg, canvas, [role=img]').filter(shown))
        if (!e.closest('[aria-hidden=true]') && ['img', 'image', 'graphics-document'].includes(e.computedRole) && !named(e))
            say('alt', 'a drawing that is neither named nor hidden', e);
    for (const e of all('dialog[open], [role=dialog], [role=alertdialog], iframe, fieldset').filter(shown))
        if (!named(e)) say('name', `<${e.tagName.toLowerCase()}> without a name`, e);

    // -- structure
    const references = ['aria-labelledby', 'aria-describedby', 'aria-controls', 'aria-owns', 'aria-activedescendant', 'aria-errormessage', 'for', 'headers', 'list'];
    for (const name of references)
        for (const e of all(`[${name}]`))
            for (const id of e.getAttribute(name).split(/\s+/).filter(Boolean))
                if (!ids.has(id)) say('reference', `${name} points at "${id}", which is not there`, e);
    for (const e of all('[tabindex]')) if (e.tabIndex > 0) say('tab-order', 'a tabindex above 0', e);
    const focusable = 'a[href], button:not([disabled]), input:not([disabled]), select:not([disabled]), textarea:not([disabled]), [tabindex="0"]';
    for (const e of all('[aria-hidden=true]').flatMap(h => [h, ...all('*', h)]))
        if (e.matches(focusable) && e.tabIndex >= 0 && shown(e)) say('hidden-focus', 'hidden from readers, yet Tab stops at it', e);
    for (const e of all('a[href], button, summary, label'))
        for (const inner of all('a[href], button, select, textarea', e)) if (shown(inner) && e.tagName !== 'LABEL') say('nested', `inside <${e.tagName.toLowerCase()}>`, inner);
    for (const e of all('ul > :not(li, script, template), ol > :not(li, script, template)')) say('list', 'in a list, but no li', e);
    for (const e of all('li')) if (!e.closest('ul, ol, menu, [role=list]')) say('list', 'an li outside of a list', e);
    for (const e of all('table').filter(shown)) {
        if (e.computedRole !== 'table') continue;
        if (!named(e)) say('table', 'a table without a caption or name', e);
        if (!e.querySelector('th')) say('table', 'a table without th', e);
    }

    // -- targets: 24 px, or a circle of that size which no other target reaches into (WCAG 2.2, 2.5.8); and
    //    under touch 44 px for what is pressed (2.5.5), a rule of its own, as it goes beyond level AA.
    const touch = matchMedia('(pointer: coarse)').matches;
    const targets = controls.filter(e => e.tabIndex >= 0 && !e.disabled).map(e => {
        // What a label belongs to can be hit through the label, too.
        const boxes = [e, ...(e.labels ?? [])].flatMap(x => [...x.getClientRects()]);
        return {e, box: boxes.reduce((a, b) => (a.width * a.height >= b.width * b.height ? a : b))};
    });
    const inline = e => getComputedStyle(e).display === 'inline' && e.parentElement && [...e.parentElement.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    for (const {e, box} of targets) {
        const size = `${Math.round(box.width)} by ${Math.round(box.height)} px`, less = Math.min(box.width, box.height);
        if (less < 2) continue; // visually hidden, as a skip link is
        // Half a pixel is rounding.
        if (touch && less < 43.5 && e.matches('button, summary, input, select, textarea')) say('touch-size', size, e);
        if (less >= 23.5 || inline(e)) continue;
        const x = box.x + box.width / 2, y = box.y + box.height / 2;
        const near = targets.some(t => t.e !== e && !t.e.contains(e) && !e.contains(t.e)
            && Math.hypot(Math.max(t.box.left - x, 0, x - t.box.right), Math.max(t.box.top - y, 0, y - t.box.bottom)) < 12);
        if (near) say('target-size', size, e);
    }
    return problems;
})();
