//! Pages out of templates. All templates are compiled in and parsed at start; an undefined name, a missing word or an
//! unknown asset is an error, and the tests render every page in both languages. Everything is escaped: there is no
//! `safe` filter, markup comes only from templates and from the few functions below.

use super::asset;
use crate::access::right::{Noun, Right, Role, Verb};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Result};
use crate::lang::format::{
    bytes, day, duration, moment, moment_long, number, percent, rate, time_of_day, words_of_age,
};
use crate::lang::{Lang, words};
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, context};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        const TEMPLATES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../templates/", $name)))),*];
    };
}

templates![
    "_bare.html",
    "_base.html",
    "_error.html",
    "_list.html",
    "_parts.html",
    "_why.html",
    "alerts/_hanging.html",
    "alerts/_open.html",
    "alerts/list.html",
    "certificates/_life.html",
    "certificates/delete.html",
    "certificates/form.html",
    "certificates/list.html",
    "certificates/show.html",
    "domains/_acts.html",
    "domains/_again.html",
    "domains/_answers.html",
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
    "error.html",
    "groups/list.html",
    "dashboard/dashboard.html",
    "dashboard/lamp.html",
    "dashboard/search.html",
    "dashboard/welcome.html",
    "metrics/probed.html",
    "metrics/table.html",
    "notifications/choose.html",
    "notifications/delete.html",
    "notifications/form.html",
    "notifications/list.html",
    "notifications/log.html",
    "rules/_choose.html",
    "rules/choose.html",
    "rules/form.html",
    "rules/list.html",
    "servers/_delete.html",
    "servers/_glances.html",
    "servers/_quiet.html",
    "servers/_remove.html",
    "servers/_why.html",
    "servers/ask.html",
    "servers/form.html",
    "servers/list.html",
    "servers/row.html",
    "servers/show.html",
    "settings/list.html",
    "settings/token.html",
    "silences/_act.html",
    "silences/_now.html",
    "silences/_what.html",
    "silences/list.html",
    "tasks/_dialog.html",
    "tasks/_log.html",
    "tasks/list.html",
    "tasks/show.html",
    "upstreams/form.html",
    "upstreams/list.html",
    "users/_sign.html",
    "users/_street.html",
    "users/login.html",
    "users/prefs.html",
    "users/setup.html",
];

/// Light, dark, or as the system has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// As the system has it.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// For the cookie.
    pub fn name(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// Reads a cookie or form value; anything else is [`Theme::Auto`].
    pub fn parse(text: &str) -> Theme {
        match text {
            "light" => Theme::Light,
            "dark" => Theme::Dark,
            _ => Theme::Auto,
        }
    }
}

/// What every page shows around its content.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Page {
    /// Language of the words.
    pub lang: Lang,
    /// Colours.
    pub theme: Theme,
    /// Single-letter keys work (WCAG 2.1.4: they can be switched off).
    pub keys: bool,
    /// Who is signed in; empty on the pages before signing in.
    pub user: String,
    /// `admin`, `operator` or `viewer`; empty when nobody is signed in.
    pub role: String,
    /// Which rights they have: `edit_domains`, … Only hides buttons; the guard decides.
    pub can: BTreeMap<String, bool>,
    /// Goes into every form.
    pub csrf: String,
    /// Path and query of this page, to come back to.
    pub path: String,
    /// `https://lamp.example.org`, for the line with `curl`.
    pub origin: String,
    /// The server's clock, for all ages on the page.
    pub now: Ms,
    /// So often a stream tells at least that it lives; the scripts wait a third longer.
    pub heartbeat_s: u64,
    /// Counters of the menu.
    pub nav: Nav,
}

impl Page {
    /// All rights there are, and which of them somebody has: for [`Page::can`].
    pub fn rights(has: impl Fn(Right) -> bool) -> BTreeMap<String, bool> {
        let name = |verb: Verb, noun: Noun| format!("{}_{}", verb.name(), noun.name().replace('-', "_"));
        let all = Role::Admin.rights();
        all.map(|(verb, noun)| (name(verb, noun), has(Right::May(verb, noun))))
            .collect()
    }

    /// May this person change things? (Only hides buttons; the guard decides.)
    pub fn acts(&self) -> bool {
        matches!(self.role.as_str(), "admin" | "operator")
    }
}

/// What the menu counts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Nav {
    /// Servers in all.
    pub servers: u64,
    /// How servers, domains and Lamplighter itself are: `up`, `degraded` or `down`; what is silenced is left out.
    pub state: &'static str,
    /// Servers and domains that are in that state, if any are; what is silenced is left out.
    pub state_count: i64,
    /// The same of the servers alone.
    pub servers_state: &'static str,
    /// The same of the servers alone.
    pub servers_count: i64,
    /// Alerts that fire and nobody has acknowledged.
    pub alerts_open: u64,
    /// Tasks that run now, newest first, a handful at most.
    pub running: Vec<Running>,
}

/// A running task in the top bar.
#[derive(Debug, Clone, Serialize)]
pub struct Running {
    /// Its number.
    pub id: i64,
    /// Its title in words.
    pub title: String,
    /// Since when.
    pub started_at: Ms,
}

/// What is wrong with the fields of a form: name to code and English sentence.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Errors(BTreeMap<String, Wrong>);

#[derive(Debug, Clone, Serialize)]
struct Wrong {
    code: &'static str,
    say: String,
}

impl Errors {
    /// One wrong field.
    pub fn one(field: &str, code: &'static str, say: &str) -> Errors {
        let wrong = Wrong {
            code,
            say: say.to_string(),
        };
        Errors(BTreeMap::from([(field.to_string(), wrong)]))
    }

    /// All wrong fields of an error; of two mistakes in one field the first.
    pub fn of(error: &Error) -> Errors {
        let mut all = BTreeMap::new();
        for f in &error.fields {
            all.entry(f.field.to_string()).or_insert_with(|| Wrong {
                code: f.code,
                say: f.message.clone(),
            });
        }
        Errors(all)
    }
}

/// Finished markup, made by [`View::rows`] only.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Markup(Value);

/// What a template is to show, made once and shown to many; see [`ResponseCache`](super::response_cache::ResponseCache).
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Prepared(Value);

impl Prepared {
    /// Takes what `content` says.
    pub fn of(content: impl Serialize) -> Prepared {
        Prepared(Value::from(Serde(content)))
    }
}

/// The templates of every language that somebody has asked for, and the rows already made.
#[derive(Default)]
pub struct View {
    by_lang: [OnceLock<Environment<'static>>; Lang::ALL.len()],
    rows: Mutex<HashMap<RowKey, (u64, Arc<str>)>>,
}

type RowKey = (&'static str, Lang, i64);

/// Rows kept: 4 languages-and-tables of 2 000 servers, about 6 MB at most.
const ROWS_MAX: usize = 8_000;

impl View {
    /// Nothing is parsed yet: a daemon that is asked only by programs, or in one language, does without half a megabyte
    /// for each. The tests parse and render all.
    pub fn new() -> View {
        View::default()
    }

    fn environment(&self, lang: Lang) -> Result<&Environment<'static>> {
        let place = &self.by_lang[lang as usize];
        match place.get() {
            Some(parsed) => Ok(parsed),
            None => {
                let parsed = environment(lang)?;
                Ok(place.get_or_init(|| parsed))
            }
        }
    }

    /// The page `name` around what `content` says; its fields stand beside `page` in the template.
    pub fn render(&self, name: &str, page: &Page, content: impl Serialize) -> Result<String> {
        let content = context! { page => Serde(page), can => Serde(&page.can), acts => page.acts(), ..Value::from(Serde(content)) };
        self.environment(page.lang)?
            .get_template(name)
            .and_then(|template| template.render(content))
            .map_err(fault)
    }

    /// A table's rows, each made once per `stamp`: a table of 200 servers costs 2 ms to make and a tenth of it to find.
    /// `rows` yields a row's number, a stamp that changes with all it shows, and how to get what it shows.
    pub fn rows<C: Serialize, F: FnOnce() -> C>(
        &self,
        name: &'static str,
        lang: Lang,
        rows: impl Iterator<Item = (i64, u64, F)>,
    ) -> Result<Markup> {
        let template = self.environment(lang)?.get_template(name).map_err(fault)?;
        let mut known = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::with_capacity(64 << 10);
        for (id, stamp, content) in rows {
            let key = (name, lang, id);
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
    // Not `{e:#}`: that prints the values a template was given, the CSRF token among them.
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
        // Its own escaping writes `/` as six bytes, and every address has some.
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

/// Indentation, the line breaks between blocks, and the end tags that HTML lets out are for who reads the template; a page
/// goes out without them.
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

/// Whether this begins with a tag beside which a browser shows no white space.
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

/// What templates can call. Those that make markup escape what they are given.
fn functions(env: &mut Environment<'static>, lang: Lang) {
    env.add_global("lang", lang.tag());
    env.add_function("t", move |id: &str, values: Kwargs| say(lang, id, None, &values));
    env.add_function("t_or", move |id: &str, other: Value, values: Kwargs| {
        say(lang, id, Some(other), &values)
    });
    env.add_function("asset", |name: &str| {
        asset::url(name).map(markup).ok_or_else(|| unknown("asset", name))
    });
    env.add_function("icon", |name: &str, class: Option<&str>| {
        markup(icon(name, class.unwrap_or_default()))
    });
    env.add_function("glyph", |state: &str| {
        markup(format!("<i class=\"g s-{}\"></i>", escape(state)))
    });
    env.add_function("lamp_of", move |state: &str| lamp(lang, state));
    env.add_function("hot", move |v: Option<f64>, is_hot: bool| hot(lang, v, is_hot));
    env.add_function("lantern", |state: &str| {
        let sheet = asset::url("icons.svg").unwrap_or_default();
        let state = escape(state);
        markup(format!(
            "<svg class=\"lantern s-{state}\" aria-hidden=\"true\"><use href=\"{sheet}#L-{state}\"/></svg>"
        ))
    });
    env.add_function("ago", move |at: Ms| {
        time(lang, at, "ago", &words_of_age(lang, clock::now() - at, true))
    });
    env.add_function("age", move |at: Ms| {
        time(lang, at, "age", &words_of_age(lang, clock::now() - at, false))
    });
    // For rows that are kept: the time itself, which script turns into an age. A title would be a tenth of the row.
    env.add_function("since", move |at: Ms| {
        let machine = clock::rfc3339(at);
        markup(format!(
            "<time datetime=\"{machine}\" data-ago=\"age\">{}</time>",
            moment(lang, at)
        ))
    });
    env.add_function("at", move |at: Ms| time(lang, at, "", &moment(lang, at)));
    env.add_function("day", move |at: Ms| time(lang, at, "", &day(lang, at)));
    env.add_global("version", env!("CARGO_PKG_VERSION"));
    env.add_filter("iso", clock::rfc3339);
    env.add_filter("hms", time_of_day);
    // Inside a drawing there is no <time>.
    env.add_filter("date", move |at: Ms| day(lang, at));
    env.add_filter("moment", move |at: Ms| moment(lang, at));
    env.add_filter("after", |text: &str, mark: &str| {
        text.split_once(mark).map_or(text, |(_, rest)| rest).to_string()
    });
    env.add_filter("num", move |v: f64, digits: Option<usize>| {
        number(lang, v, digits.unwrap_or(0))
    });
    env.add_filter("percent", move |v: f64| percent(lang, v));
    env.add_filter("rate", move |v: f64| rate(lang, v));
    env.add_filter("bytes", move |v: f64| bytes(lang, v));
    env.add_filter("span", move |ms: f64| words_of_age(lang, ms as Ms, false));
    env.add_filter("duration", move |ms: f64| duration(lang, ms as Ms));
    env.add_filter("wbr", |text: &str| markup(escape(text).replace('.', ".<wbr>")));
}

/// What a template's function gives back.
type Drawn = std::result::Result<Value, minijinja::Error>;

fn unknown(what: &str, name: &str) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, format!("unknown {what} {name}"))
}

fn markup(text: String) -> Value {
    Value::from_safe_string(text)
}

/// A word with its values. One value that is markup (a link) makes the whole markup, everything else in it escaped.
fn say(lang: Lang, id: &str, other: Option<Value>, values: &Kwargs) -> Drawn {
    let n = values.peek::<Value>("n").ok().and_then(|n| i64::try_from(n).ok());
    let Some(text) = words::word(lang, id, n) else {
        return other.ok_or_else(|| unknown("word", id));
    };
    if !text.contains('{') {
        return Ok(Value::from(text));
    }
    let value = |name: &str| values.peek::<Value>(name).ok();
    let safe = values.args().any(|name| value(name).is_some_and(|v| v.is_safe()));
    let plain = |out: &mut String, text: &str| match safe {
        true => out.push_str(&escape(text)),
        false => out.push_str(text),
    };
    let put = |out: &mut String, name: &str| {
        let Some(v) = value(name) else { return false };
        match v.kind() {
            ValueKind::Number => match i64::try_from(v.clone()) {
                Ok(n) => out.push_str(&number(lang, n as f64, 0)),
                Err(_) => out.push_str(&number(lang, f64::try_from(v).unwrap_or_default(), 1)),
            },
            _ if v.is_safe() => out.push_str(v.as_str().unwrap_or_default()),
            _ => plain(out, v.as_str().unwrap_or(&v.to_string())),
        }
        true
    };
    let text = words::fill(text, put, plain);
    Ok(if safe { markup(text) } else { Value::from(text) })
}

fn icon(name: &str, class: &str) -> String {
    let sheet = asset::url("icons.svg").unwrap_or_default();
    let (name, class) = (escape(name), escape(class));
    format!("<svg class=\"i {class}\" aria-hidden=\"true\"><use href=\"{sheet}#{name}\"/></svg>")
}

fn lamp(lang: Lang, state: &str) -> Drawn {
    let id = format!("state.{state}");
    let word = words::word(lang, &id, None).ok_or_else(|| unknown("word", &id))?;
    Ok(markup(format!(
        "<span class=\"state s-{state}\"><i class=\"g\"></i><span>{word}</span></span>"
    )))
}

/// A share, which stands out when an alert about it is open.
fn hot(lang: Lang, value: Option<f64>, is_hot: bool) -> Value {
    match value {
        None => markup("<span>–</span>".into()),
        Some(v) if is_hot => markup(format!("<b>{}</b>", percent(lang, v))),
        Some(v) => markup(format!("<span>{}</span>", percent(lang, v))),
    }
}

fn time(lang: Lang, at: Ms, ago: &str, text: &str) -> Value {
    let ago = if ago.is_empty() {
        String::new()
    } else {
        format!(" data-ago=\"{ago}\"")
    };
    let (machine, title) = (clock::rfc3339(at), moment_long(lang, at));
    markup(format!(
        "<time datetime=\"{machine}\"{ago} title=\"{title}\">{text}</time>"
    ))
}

/// Text as HTML, for content and attributes in double quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// One character says 0 to 63: a sparkline of an hour is 60 bytes of the page.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Shares as one character each, for a sparkline; a hole is `_`.
pub fn spark(points: impl IntoIterator<Item = Option<f64>>) -> String {
    let digit = |v: f64| DIGITS[(v.clamp(0.0, 100.0) / 100.0 * 63.0).round() as usize] as char;
    points
        .into_iter()
        .map(|p| p.filter(|v| v.is_finite()).map_or('_', digit))
        .collect()
}

/// Counts as one character each, for bars.
pub fn bars(counts: impl IntoIterator<Item = u64>) -> String {
    counts.into_iter().map(|n| DIGITS[n.min(63) as usize] as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    fn page(lang: Lang) -> Page {
        Page {
            lang,
            user: "m.orlova".into(),
            role: "admin".into(),
            can: Page::rights(|right| Role::Admin.may(right)),
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
            context! { login => "<b>", problem => "", plain => true, next => "/" },
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
                context! { panels => context! { nameservers => card }, acts => true },
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
            assert!(en.contains("Nobody has looked yet"), "{en}");
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
            "health.",
            "over.",
            "rule.",
            "msg.",
            "many.",
        ]; // found by data, not by a template's text
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
    fn shares_are_written_as_one_character_each() {
        assert_eq!(
            spark([Some(0.0), None, Some(100.0), Some(f64::NAN), Some(400.0)]),
            "A_/_/"
        );
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
        assert_eq!(say("<i>".into()), "The longest is &lt;i&gt;, dark for &lt;5 min&gt;.");
        assert_eq!(
            say(markup("<a>x</a>".into())),
            "The longest is <a>x</a>, dark for &lt;5 min&gt;."
        );
    }

    #[test]
    fn a_row_is_made_again_only_when_its_stamp_changes() {
        let view = View::new();
        let why = context! { lamp => "lit", stamp => "/0", silenced => (), say => "" };
        let lamp = |name: &str| context! { id => 7, name, seen => 5, shares => "1 2 3", why => why.clone() };
        let made = |stamp, name: &str| {
            let rows = std::iter::once((7, stamp, || lamp(name)));
            view.rows("dashboard/lamp.html", Lang::En, rows).unwrap().0.to_string()
        };
        assert!(made(1, "first").contains("first"));
        assert!(made(1, "second").contains("first"));
        assert!(made(2, "third").contains("third"));
    }
}
