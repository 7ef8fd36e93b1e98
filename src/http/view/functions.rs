//! Functions for templates, and the markup they make; all of it is escaped.

use super::super::asset;
use crate::base::clock::{self, Ms};
use crate::base::qr::Qr;
use crate::base::zone;
use crate::lang::format::{
    bytes, day, duration, moment, moment_long, number, percent, rate, time_of_day, words_of_age,
};
use crate::lang::{Lang, Locale, words};
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, ErrorKind};

/// Adds the functions. Those that make markup escape their arguments.
pub(super) fn functions(env: &mut Environment<'static>, lang: Lang) {
    env.add_global("lang", lang.tag());
    env.add_function("t", move |id: &str, values: Kwargs| say(lang, id, None, &values));
    env.add_function("t_or", move |id: &str, other: Value, values: Kwargs| {
        say(lang, id, Some(other), &values)
    });
    // What was said in English and stored: again in this language, or else by its code.
    env.add_function("told", move |said: &str, code: Option<&str>| {
        let by_code = || words::word(lang, &format!("err.{}", code?), None).map(String::from);
        match lang {
            Lang::En => said.to_string(),
            _ => words::retold(lang, said)
                .or_else(by_code)
                .unwrap_or_else(|| said.into()),
        }
    });
    env.add_function("asset", |name: &str| {
        asset::url(name).map(markup).ok_or_else(|| unknown("asset", name))
    });
    env.add_function("csrf", |page: Value| {
        let token = page.get_attr("csrf")?;
        Drawn::Ok(markup(format!(
            "<input type=\"hidden\" name=\"csrf\" value=\"{}\">",
            inside(&token)
        )))
    });
    // A link inside a sentence.
    env.add_function("link", |href: &str, text: Value| {
        markup(format!("<a href=\"{}\">{}</a>", escape(href), inside(&text)))
    });
    env.add_function("code", |text: Value| markup(format!("<code>{}</code>", inside(&text))));
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
    // Nothing where the text is too long for one; what it says stands beside it.
    env.add_function("qr", |text: &str| {
        markup(Qr::new(text.as_bytes()).map(|qr| qr.svg()).unwrap_or_default())
    });
    env.add_global("version", env!("CARGO_PKG_VERSION"));
    env.add_filter("iso", clock::rfc3339);
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
    env.add_function("zones", zone::names);
    env.add_filter("wbr", |text: &str| markup(escape(text).replace('.', ".<wbr>")));
}

/// Adds the functions for times in a time zone.
pub(super) fn times(env: &mut Environment<'static>, locale: &Locale) {
    let lang = locale.lang;
    let on = || locale.clone();
    let shown = on();
    env.add_function("ago", move |at: Ms| {
        time(&shown, at, "ago", &words_of_age(lang, clock::now() - at, true))
    });
    let shown = on();
    env.add_function("age", move |at: Ms| {
        time(&shown, at, "age", &words_of_age(lang, clock::now() - at, false))
    });
    // Cached rows hold the time itself, which the script turns into an age. A title would be a tenth of the row.
    let shown = on();
    env.add_function("since", move |at: Ms| {
        let machine = clock::rfc3339(at);
        markup(format!(
            "<time datetime=\"{machine}\" data-ago=\"age\">{}</time>",
            moment(&shown, at)
        ))
    });
    let shown = on();
    env.add_function("at", move |at: Ms| time(&shown, at, "", &moment(&shown, at)));
    let shown = on();
    env.add_function("day", move |at: Ms| time(&shown, at, "", &day(&shown, at)));
    let zone = locale.zone.clone();
    env.add_filter("hms", move |at: Ms| time_of_day(&zone, at));
    // No <time> inside SVG.
    let shown = on();
    env.add_filter("date", move |at: Ms| day(&shown, at));
    let shown = on();
    env.add_filter("moment", move |at: Ms| moment(&shown, at));
    // `Europe/Berlin (UTC+2)`, with the offset at that time.
    let zone = locale.zone.clone();
    env.add_filter("zone", move |at: Ms| match zone.label(at) {
        label if label == zone.name() => label,
        label => format!("{} ({label})", zone.name()),
    });
}

/// Result of a template function.
type Drawn = std::result::Result<Value, minijinja::Error>;

fn unknown(what: &str, name: &str) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, format!("unknown {what} {name}"))
}

pub(super) fn markup(text: String) -> Value {
    Value::from_safe_string(text)
}

/// A text with its values. A value that is markup (a link) makes the result markup, with the rest escaped.
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

/// A share, highlighted if an alert about it is open.
fn hot(lang: Lang, value: Option<f64>, is_hot: bool) -> Value {
    match value {
        None => markup("<span>–</span>".into()),
        Some(v) if is_hot => markup(format!("<b>{}</b>", percent(lang, v))),
        Some(v) => markup(format!("<span>{}</span>", percent(lang, v))),
    }
}

fn time(on: &Locale, at: Ms, ago: &str, text: &str) -> Value {
    let ago = if ago.is_empty() {
        String::new()
    } else {
        format!(" data-ago=\"{ago}\"")
    };
    let (machine, title) = (clock::rfc3339(at), moment_long(on, at));
    markup(format!(
        "<time datetime=\"{machine}\"{ago} title=\"{title}\">{text}</time>"
    ))
}

/// A value inside markup, escaped unless it is markup.
fn inside(value: &Value) -> String {
    match value.as_str() {
        Some(text) if value.is_safe() => text.to_string(),
        Some(text) => escape(text),
        None => escape(&value.to_string()),
    }
}

/// Escapes text for HTML content and attributes in double quotes.
pub(super) fn escape(text: &str) -> String {
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
