//! Templates. All are compiled in; an undefined name, a missing text or an unknown asset is an error, and the tests
//! render every page in both languages. Everything is escaped: there is no `safe` filter, markup comes only from
//! templates and from the functions below.

mod frame;
mod spark;
mod functions;

pub use frame::{Can, Errors, Page, Theme};
pub use spark::{bars, hours, spark};

use crate::base::error::{Error, Result};
use crate::lang::{Lang, Locale};
use functions::{escape, functions, times};
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        const TEMPLATES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../templates/", $name)))),*];
    };
}

templates![
    "_bare.html",
    "_base.html",
    "_error.html",
    "_list.html",
    "_parts.html",
    "_why.html",
    "alerts/_card.html",
    "alerts/_hanging.html",
    "alerts/_open.html",
    "alerts/list.html",
    "audit/list.html",
    "certificates/_life.html",
    "certificates/delete.html",
    "certificates/form.html",
    "certificates/list.html",
    "certificates/show.html",
    "charts/show.html",
    "confirm.html",
    "domains/_acts.html",
    "domains/_again.html",
    "domains/_answers.html",
    "domains/_card_needs.html",
    "domains/_certificate.html",
    "domains/_delete.html",
    "domains/_diff.html",
    "domains/_faults.html",
    "domains/_nameservers.html",
    "domains/_on_server.html",
    "domains/_stands.html",
    "domains/_path.html",
    "domains/_plan.html",
    "domains/_sites.html",
    "domains/_steps.html",
    "domains/_why.html",
    "domains/ask.html",
    "domains/bulk.html",
    "domains/form.html",
    "domains/list.html",
    "domains/plan.html",
    "domains/plans.html",
    "domains/show.html",
    "domains/verified.html",
    "docs/_parts.html",
    "docs/feature.html",
    "docs/overview.html",
    "error.html",
    "help/_text.html",
    "help/chapter.html",
    "help/contents.html",
    "groups/list.html",
    "dashboard/_counter.html",
    "dashboard/dashboard.html",
    "dashboard/search.html",
    "dashboard/welcome.html",
    "me/prefs.html",
    "me/totp.html",
    "metrics/probed.html",
    "metrics/table.html",
    "notifications/choose.html",
    "notifications/delete.html",
    "notifications/form.html",
    "notifications/list.html",
    "notifications/log.html",
    "people/list.html",
    "people/show.html",
    "rules/_choose.html",
    "rules/choose.html",
    "rules/form.html",
    "rules/list.html",
    "actions/_file.html",
    "actions/many.html",
    "actions/server.html",
    "admin/settings.html",
    "plugins/list.html",
    "projects/list.html",
    "schedules/list.html",
    "leases/_panel.html",
    "leases/list.html",
    "leases/show.html",
    "rotations/_panel.html",
    "secrets/_value.html",
    "secrets/delete.html",
    "secrets/list.html",
    "secrets/show.html",
    "servers/_card_head.html",
    "servers/_card_needs.html",
    "servers/_card_wall.html",
    "servers/_delete.html",
    "servers/_glances.html",
    "servers/_quiet.html",
    "servers/_remove.html",
    "servers/_why.html",
    "servers/ask.html",
    "servers/form.html",
    "servers/lamp.html",
    "servers/list.html",
    "servers/row.html",
    "servers/show.html",
    "settings/list.html",
    "settings/token.html",
    "silences/_act.html",
    "silences/_now.html",
    "silences/_what.html",
    "availability/_card.html",
    "availability/_parts.html",
    "availability/list.html",
    "availability/show.html",
    "backups/list.html",
    "containers/_on_server.html",
    "containers/_row.html",
    "containers/list.html",
    "containers/show.html",
    "logs/_narrow.html",
    "logs/_older.html",
    "logs/search.html",
    "services/_on_server.html",
    "services/_table.html",
    "services/clear.html",
    "services/form.html",
    "services/list.html",
    "services/marzban.html",
    "services/show.html",
    "services/users.html",
    "doctor/show.html",
    "hosts/_on_server.html",
    "groups/_form.html",
    "groups/_tabs.html",
    "groups/show.html",
    "inventory/show.html",
    "silences/list.html",
    "status/edit.html",
    "status/public.html",
    "tasks/_card.html",
    "tasks/_dialog.html",
    "tasks/_log.html",
    "tasks/list.html",
    "tasks/show.html",
    "tokens/list.html",
    "upstreams/form.html",
    "upstreams/list.html",
    "users/_sign.html",
    "users/_street.html",
    "users/invite.html",
    "users/login.html",
    "users/setup.html",
];

/// Finished markup, made by [`View::rows`] only.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Markup(Value);

/// Prepared template data, shared by several readers; used by [`ResponseCache`](super::response_cache::ResponseCache).
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Prepared(Value);

impl Prepared {
    /// Takes what `content` says.
    pub fn of(content: impl Serialize) -> Prepared {
        Prepared(Value::from(Serde(content)))
    }
}

/// Parsed templates by language, and rendered rows by zone.
#[derive(Default)]
pub struct View {
    by_lang: [OnceLock<Environment<'static>>; Lang::ALL.len()],
    by_locale: Mutex<Vec<Arc<Localized>>>,
}

/// Templates of one language and zone, with rendered rows.
struct Localized {
    locale: Locale,
    templates: Environment<'static>,
    rows: Mutex<HashMap<RowKey, (u64, Arc<str>)>>,
}

type RowKey = (&'static str, i64);

/// Limit of locales; an installation has one zone or two.
const LOCALES_MAX: usize = 8;
/// Limit of rows per locale: two tables of 2 000 servers, about 3 MB.
const ROWS_MAX: usize = 4_000;

impl View {
    /// Parses on demand: half a megabyte per language is saved if it is not used. The tests parse and render all.
    pub fn new() -> View {
        View::default()
    }

    fn localized(&self, locale: &Locale) -> Result<Arc<Localized>> {
        let place = &self.by_lang[locale.lang as usize];
        let parsed = match place.get() {
            Some(parsed) => parsed,
            None => {
                let parsed = environment(locale.lang)?;
                place.get_or_init(|| parsed)
            }
        };
        let mut known = self.by_locale.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.iter().find(|one| one.locale == *locale) {
            return Ok(found.clone());
        }
        // Templates are shared.
        let mut templates = parsed.clone();
        times(&mut templates, locale);
        let localized = Arc::new(Localized {
            locale: locale.clone(),
            templates,
            rows: Mutex::default(),
        });
        if known.len() >= LOCALES_MAX {
            known.remove(0);
        }
        known.push(localized.clone());
        Ok(localized)
    }

    /// Renders the template `name` with `content`; its fields stand beside `page`. Error: a template error.
    pub fn render(&self, name: &str, page: &Page, content: impl Serialize) -> Result<String> {
        let content =
            context! { page => Serde(page), can => Value::from_object(page.can), ..Value::from(Serde(content)) };
        self.localized(&page.locale)?
            .templates
            .get_template(name)
            .and_then(|template| template.render(content))
            .map_err(fault)
    }

    /// Rows of a table, each rendered once per `stamp`: a table of 200 servers takes 2 ms to render and a tenth of it
    /// from the cache. `rows` yields a row's id, a stamp that changes with its content, and a function for its data.
    pub fn rows<C: Serialize, F: FnOnce() -> C>(
        &self,
        name: &'static str,
        locale: &Locale,
        rows: impl Iterator<Item = (i64, u64, F)>,
    ) -> Result<Markup> {
        let localized = self.localized(locale)?;
        let template = localized.templates.get_template(name).map_err(fault)?;
        let mut known = localized.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::with_capacity(64 << 10);
        for (id, stamp, content) in rows {
            let key = (name, id);
            match known.get(&key) {
                Some((at, row)) if *at == stamp => out.push_str(row),
                _ => {
                    let row: Arc<str> = template.render(Value::from(Serde(&content()))).map_err(fault)?.into();
                    out.push_str(&row);
                    if known.len() >= ROWS_MAX {
                        known.clear();
                    }
                    known.insert(key, (stamp, row));
                }
            }
        }
        Ok(Markup(Value::from_safe_string(out)))
    }
}

fn fault(e: minijinja::Error) -> Error {
    // Not `{e:#}`: that prints values given to the template, including the CSRF token.
    Error::internal(format!("template: {e}"))
}

fn environment(lang: Lang) -> Result<Environment<'static>> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_syntax(
        minijinja::syntax::SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(fault)?,
    );
    env.set_formatter(|out, state, value| match (value.kind(), value.as_str()) {
        (ValueKind::None, _) => Ok(()),
        // minijinja's escaping writes `/` as six bytes.
        (_, Some(text)) if !value.is_safe() && matches!(state.auto_escape(), AutoEscape::Html) => {
            out.write_str(&escape(text)).map_err(Into::into)
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    env.remove_filter("safe");
    env.remove_filter("tojson");
    functions(&mut env, lang);
    for (name, source) in TEMPLATES {
        env.add_template_owned(*name, compact(source)).map_err(fault)?;
    }
    Ok(env)
}

/// Removes indentation, line breaks between blocks, and optional end tags from templates.
fn compact(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    for line in source.replace("</td>", "").replace("</tr>", "").lines().map(str::trim) {
        if is_block_tag(line) {
            out.truncate(out.trim_end().len());
        }
        out.push_str(line);
        let last_tag = line.rfind('<').filter(|_| line.ends_with('>'));
        if !last_tag.is_some_and(|at| is_block_tag(&line[at..])) {
            out.push('\n');
        }
    }
    out
}

/// Does this begin with a tag around which white space is insignificant?
fn is_block_tag(text: &str) -> bool {
    const BLOCKS: &str = " dd div dl dt figure footer form h1 h2 head header html li link main meta nav ol option p \
        section table tbody td th thead tr ul ";
    let Some(tag) = text.strip_prefix('<') else {
        return false;
    };
    let name = tag.trim_start_matches('/');
    let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
    BLOCKS.contains(&format!(" {} ", &name[..end]))
}

#[cfg(test)]
mod tests {
    use super::functions::markup;
    use super::*;
    use crate::access::Role;
    use crate::base::clock;
    use crate::base::zone::Zone;
    use crate::http::menu::Nav;
    use crate::lang::words;
    use minijinja::context;

    fn page(lang: Lang) -> Page {
        Page {
            locale: Locale {
                lang,
                zone: Zone::utc(),
            },
            user: "m.orlova".into(),
            role: "admin".into(),
            can: Can::of(|right| Role::Admin.may(right)),
            nav: Prepared::of(Nav::default()),
            csrf: "token".into(),
            path: "/".into(),
            origin: "https://lamp.example".into(),
            keys: true,
            now: clock::now(),
            ..Page::default()
        }
    }

    fn render(name: &str, content: Value) -> [String; 2] {
        let view = View::new();
        Lang::ALL.map(|lang| {
            let content = content.clone();
            view.render(name, &page(lang), content)
                .unwrap_or_else(|e| panic!("{name}: {e}"))
        })
    }

    #[test]
    fn the_pages_before_signing_in_say_what_they_are_in_both_languages() {
        let [en, ru] = render(
            "users/login.html",
            context! { login => "<b>", problem => "", plain => true, next => "/", ticket => "" },
        );
        assert!(en.contains("Sign in") && ru.contains("Вход"));
        assert!(en.contains("value=\"&lt;b&gt;\"") && !en.contains("<b>"));
        let [en, _] = render(
            "users/setup.html",
            context! { errors => Value::from(Serde(Errors::one("token", "odd", "Wrong."))), login => "" },
        );
        assert!(en.contains("aria-describedby=\"token-e token-h\""), "{en}");
    }

    #[test]
    fn the_card_of_name_servers_shows_each_with_its_judgement_in_every_state() {
        let host = |name: &str, fits: bool| context! { name => name, fits => fits };
        let run = |state: &str, code: &str, policy: &str, hosts: Vec<Value>| {
            context! {
                glyph => "dark", state => state, code => code, policy => policy, zone => "b.example", above => true, hosts => hosts,
                misfits => 1, evidence => ["192.0.2.1, asked for NS of <a>: SERVFAIL."], first_at => 0, last_at => 0, count => 3,
            }
        };
        let mixed = || vec![host("ns1.b.example", true), host("<ns2>.example", false)];
        let card = |mode: &str, now: Value, earlier: Vec<Value>| {
            let card = context! { id => 7, policy => "suffix:b.example", mode => mode, now => now, earlier => earlier, more => true };
            render(
                "domains/_nameservers.html",
                context! { panels => context! { nameservers => card }, can => context! { run_domains => true } },
            )
        };
        let earlier = vec![
            run("ok", "ok", "x", mixed()),
            run("ok", "ok", "", mixed()),
            run("error", "servfail", "", vec![]),
        ];
        let [en, ru] = card(
            "suffix",
            run("mismatch", "mismatch", "suffix:b.example", mixed()),
            earlier,
        );
        for text in [
            "1 of 2 does not fit",
            "&lt;ns2&gt;",
            "/domains/7/verify-dns",
            "All 2 name servers fit",
            "SERVFAIL",
        ] {
            assert!(en.contains(text), "{text}: {en}");
        }
        assert!(ru.contains("1 из 2 не соответствует") && !ru.contains("<ns2>"), "{ru}");
        for code in [
            "nxdomain",
            "servfail",
            "refused",
            "timeout",
            "unreachable",
            "no_data",
            "lame",
            "truncated",
            "bad_answer",
        ] {
            let [en, ru] = card("none", run("error", code, "", vec![]), vec![]);
            assert!(
                en.contains("asked for NS of &lt;a&gt;") && !en.contains(&format!(">{code}<")),
                "{code}: {en}"
            );
            assert!(!ru.contains(&format!(">{code}<")), "{code}: {ru}");
        }
        for mode in ["none", "substring", "suffix", "exact"] {
            let [en, _] = card(mode, Value::from(()), vec![]);
            assert!(en.contains("Not checked yet."), "{en}");
        }
        let [nothing, _] = render("domains/_nameservers.html", context! { panels => context! {} });
        assert_eq!(nothing.trim(), "");
    }

    #[test]
    fn every_word_of_a_template_is_in_the_list_and_the_list_has_no_other() {
        let mut prefixes = vec![
            "err.",
            "alert.",
            "wrong.",
            "setting.",
            "preflight.",
            "event.",
            "step.",
            "task.kind.",
            "health.",
            "over.",
            "rule.",
            "msg.",
            "many.",
            "api.",
            "docs.kind.",
            "docs.right.",
            "doctor.",
            "told.",
        ]; // looked up by data, not by a template
        let mut used = std::collections::BTreeSet::new();
        for (name, source) in TEMPLATES {
            for call in ["t('", "t_or('"] {
                for (at, _) in source.match_indices(call) {
                    let rest = &source[at + call.len()..];
                    if source[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                        continue; // the end of another name
                    }
                    let (id, after) = rest.split_once('\'').unwrap();
                    if after.trim_start().starts_with('~') {
                        prefixes.push(id);
                    } else {
                        assert!(words::word(Lang::En, id, None).is_some(), "{name} says {id}");
                        used.insert(id);
                    }
                }
            }
        }
        let idle = |id: &&str| !used.contains(id) && !prefixes.iter().any(|prefix| id.starts_with(prefix));
        let idle: Vec<_> = words::ids().into_iter().filter(idle).collect();
        assert_eq!(idle, [""; 0], "nobody says these");
    }

    #[test]
    fn a_link_inside_a_sentence_leaves_the_rest_escaped() {
        let mut env = environment(Lang::En).unwrap();
        env.add_template("x.html", "{{ t('home.longest', name=who, age=age) }}")
            .unwrap();
        let say = |who: Value| {
            env.get_template("x.html")
                .unwrap()
                .render(context! { who, age => "<5 min>" })
                .unwrap()
        };
        assert_eq!(say("<i>".into()), "The longest is &lt;i&gt;, down for &lt;5 min&gt;.");
        assert_eq!(
            say(markup("<a>x</a>".into())),
            "The longest is <a>x</a>, down for &lt;5 min&gt;."
        );
    }

    #[test]
    fn a_row_is_made_again_only_when_its_stamp_changes() {
        let view = View::new();
        let why = context! { lamp => "lit", stamp => "/0", silenced => (), say => "" };
        let lamp = |name: &str| context! { id => 7, name, seen => 5, shares => "1 2 3", why => why.clone() };
        let made = |stamp, name: &str| {
            let rows = std::iter::once((7, stamp, || lamp(name)));
            view.rows("servers/lamp.html", &Locale::default(), rows)
                .unwrap()
                .0
                .to_string()
        };
        assert!(made(1, "first").contains("first"));
        assert!(made(1, "second").contains("first"));
        assert!(made(2, "third").contains("third"));
    }
}
