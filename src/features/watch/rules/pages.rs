//! Pages of the rules: each rule as a sentence with its switch, and a form with the fields of its kind.

use super::api::{self, Around};
use super::builtin::{Builtin, Fields};
use super::model;
use super::watches::{LOG, SERIES, Series, Unit, Watches};
use super::{Rule, say};
use crate::access::right::{AlertRules, Edit, Read, may};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::features::fleet::groups;
use crate::features::fleet::scope::FIELDS;
use crate::form::Input;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use crate::kinds::About;
use crate::lang::Lang;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/alert-rules", may(Read, AlertRules), list),
    route(Get, "/alert-rules/new", may(Edit, AlertRules), new),
    route(Post, "/alert-rules", may(Edit, AlertRules), create),
    route(Get, "/alert-rules/{id}", may(Edit, AlertRules), edit),
    route(Post, "/alert-rules/{id}", may(Edit, AlertRules), change),
    route(Post, "/alert-rules/{id}/switch", may(Edit, AlertRules), switch).takes(model::PARAMS),
    route(Post, "/alert-rules/{id}/reset", may(Edit, AlertRules), reset),
    route(Post, "/alert-rules/{id}/delete", may(Edit, AlertRules), delete),
];

#[derive(Serialize)]
struct Row {
    id: i64,
    /// Empty for built-in rules: their sentence is enough.
    name: String,
    sentence: String,
    level: &'static str,
    glyph: &'static str,
    enabled: bool,
    changed: bool,
    firing: Option<i64>,
}

fn row(lang: Lang, rule: Rule, around: &Around) -> Row {
    Row {
        id: rule.id.get(),
        sentence: around.sentence(lang, &rule),
        level: rule.fields.level,
        glyph: match rule.fields.level {
            "INFO" => "info",
            "WARNING" => "flick",
            _ => "dark",
        },
        enabled: rule.fields.enabled,
        changed: rule.builtin.is_some() && rule.revision > 0,
        firing: around.firing(&rule),
        name: rule.fields.name,
    }
}

/// Something that a new rule can watch.
#[derive(Serialize)]
struct Choice {
    key: &'static str,
    text: String,
}

fn choices(lang: Lang) -> Vec<Choice> {
    // Usage and forecast of disks are named by the kinds of their alerts.
    let word = |s: &Series| match s.is_of_disks() {
        true => format!("kind.{}", s.kind),
        false => format!("rule.what.{}", s.name),
    };
    let series = SERIES.iter().map(|s| (s.name, word(s)));
    let events = Builtin::all()
        .into_iter()
        .filter_map(Builtin::event)
        .map(Watches::Event);
    let events = events
        .filter(|e| e.about() != About::Other)
        .map(|e| (e.name(), format!("kind.{}", e.name())));
    let choice = |(key, word): (&'static str, String)| Choice {
        key,
        text: say::word(lang, &word, &[]),
    };
    series.chain(events).map(choice).collect()
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let rows: Vec<Row> = ctx.app.db.read(|conn| {
        let around = Around::read(conn)?;
        Ok(super::all(conn)?
            .into_iter()
            .map(|rule| row(lang, rule, &around))
            .collect())
    })?;
    let (own, builtin): (Vec<_>, Vec<_>) = rows.into_iter().partition(|r| !r.name.is_empty());
    page::show(
        ctx,
        "rules/list.html",
        json!({ "own": own, "builtin": builtin, "choices": choices(lang) }),
    )
}

#[derive(Serialize)]
struct GroupChoice {
    id: i64,
    name: String,
    chosen: bool,
}

/// The form: the fields of its kind with typed or stored values.
#[derive(Serialize)]
struct Form {
    id: Option<i64>,
    builtin: bool,
    changed: bool,
    title: String,
    watches: &'static str,
    kind: &'static str,
    about: &'static str,
    /// Empty for events.
    unit: &'static str,
    of_disks: bool,
    both_ways: bool,
    has_time: bool,
    of_log: bool,
    groups: Vec<GroupChoice>,
    /// Is its scope no more than tags or groups?
    is_short: bool,
    values: Map<String, Value>,
}

fn form_of(ctx: &Ctx, rule: Option<&Rule>, f: &Fields) -> Result<Form> {
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let about = f.watches.about();
    let groups = match about {
        About::Domain => ctx.app.db.read(groups::all)?,
        _ => Vec::new(),
    };
    let chosen_groups = f.scope.groups().unwrap_or_default();
    let digits = |n: f64| if n.is_nan() { String::new() } else { format!("{n}") };
    let mut form = Form {
        id: rule.map(|r| r.id.get()),
        builtin: rule.is_some_and(|r| r.builtin.is_some()),
        changed: rule.is_some_and(|r| r.builtin.is_some() && r.revision > 0),
        title: match rule {
            Some(rule) => say::name(lang, rule),
            None => String::new(),
        },
        watches: f.watches.name(),
        kind: f.watches.kind(),
        about: match about {
            About::Server => "server",
            About::Domain => "domain",
            About::Container => "container",
            About::Other => "other",
        },
        unit: "",
        of_disks: false,
        both_ways: false,
        has_time: false,
        of_log: false,
        groups: (groups.into_iter())
            .map(|g| GroupChoice {
                id: g.id.get(),
                chosen: chosen_groups.contains(&g.id.get()),
                name: g.fields.name,
            })
            .collect(),
        is_short: f.scope.tags().is_some() || f.scope.groups().is_some(),
        values: Map::new(),
    };
    if let Watches::Series(series) = f.watches {
        form.unit = series.unit.name();
        form.of_disks = series.is_of_disks();
        form.both_ways = series.below.is_none();
        form.has_time = series.unit != Unit::Hours;
        form.of_log = series.name == LOG;
    }
    let stored = json!({
        "name": f.name, "enabled": f.enabled, "level": f.level, "tags": f.scope.tags().unwrap_or_default().join(", "),
        "scope": f.scope.form_text(), "containers": f.containers, "words": f.words, "mount": f.limit.mount,
        "direction": if f.limit.below { "below" } else { "above" }, "threshold": digits(f.limit.threshold),
        "clear": digits(f.limit.clear), "for_s": f.limit.for_s.to_string(),
    });
    if let Value::Object(stored) = stored {
        form.values = stored;
    }
    Ok(form)
}

fn form_page(ctx: &Ctx, form: &Form, errors: Errors) -> Result<Reply> {
    page::show(
        ctx,
        "rules/form.html",
        json!({ "form": form, "errors": errors, "fields": FIELDS }),
    )
}

/// Without `watches`, the page where it is chosen.
fn new(ctx: &Ctx) -> Result<Reply> {
    let Some(key) = ctx.request.param("watches") else {
        let lang = page::lang(ctx.request, ctx.maybe_actor());
        return page::show(ctx, "rules/choose.html", json!({ "choices": choices(lang) }));
    };
    let watches = Watches::parse(key).ok_or_else(|| Error::not_found("thing to watch"))?;
    form_page(ctx, &form_of(ctx, None, &Fields::blank(watches))?, Errors::default())
}

fn edit(ctx: &Ctx) -> Result<Reply> {
    let rule = ctx.app.db.read(|conn| super::get(conn, ctx.id(0, "rule")?))?;
    form_page(ctx, &form_of(ctx, Some(&rule), &rule.fields)?, Errors::default())
}

/// Translates the form for the API: tags split at commas, unticked boxes as false; an empty `clear` means the
/// threshold.
fn input(pairs: &[(String, String)], about: About) -> Input {
    let mut object = Map::new();
    object.insert("enabled".into(), false.into());
    if about == About::Domain {
        object.insert("groups".into(), json!([]));
    }
    for (name, value) in pairs {
        let value = match name.as_str() {
            "csrf" => continue,
            "clear" if value.trim().is_empty() => continue,
            "tags" => value.split(',').map(str::trim).filter(|t| !t.is_empty()).collect(),
            "groups" => {
                if let Some(Value::Array(groups)) = object.get_mut("groups") {
                    groups.push(value.as_str().into());
                }
                continue;
            }
            _ => Value::from(value.as_str()),
        };
        object.insert(name.clone(), value);
    }
    if let Some(threshold) = object
        .get("threshold")
        .cloned()
        .filter(|_| !object.contains_key("clear") && !object.contains_key("words"))
    {
        object.insert("clear".into(), threshold);
    }
    Input::of(model::PARAMS, object)
}

/// The form with its errors; other errors are returned as they are.
fn again(ctx: &Ctx, mut form: Form, pairs: Vec<(String, String)>, error: Error) -> Result<Reply> {
    if error.fields.is_empty() || !matches!(error.kind, Kind::Invalid | Kind::Conflict) {
        return Err(error);
    }
    form.values.insert("enabled".into(), false.into());
    for group in &mut form.groups {
        let id = group.id.to_string();
        group.chosen = pairs.iter().any(|(name, value)| name == "groups" && *value == id);
    }
    form.values
        .extend(pairs.into_iter().map(|(name, value)| (name, value.into())));
    Ok(form_page(ctx, &form, Errors::of(&error))?.with_status(422))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let pairs = ctx.request.form()?;
    let named = pairs
        .iter()
        .find(|(name, _)| name == "watches")
        .and_then(|(_, value)| Watches::parse(value));
    let watches = named.ok_or_else(|| Error::not_found("thing to watch"))?;
    match api::add(ctx.app, input(&pairs, watches.about()), ctx.allowed(Edit, AlertRules)?) {
        Ok(_) => Ok(Reply::see_other("/alert-rules")),
        Err(e) => again(ctx, form_of(ctx, None, &Fields::blank(watches))?, pairs, e),
    }
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "rule")?;
    let pairs = ctx.request.form()?;
    let rule = ctx.app.db.read(|conn| super::get(conn, id))?;
    match api::save(
        ctx.app,
        id,
        input(&pairs, rule.fields.watches.about()),
        ctx.allowed(Edit, AlertRules)?,
    ) {
        Ok(()) => Ok(Reply::see_other("/alert-rules")),
        Err(e) => again(ctx, form_of(ctx, Some(&rule), &rule.fields)?, pairs, e),
    }
}

/// Enables or disables, as the button says; idempotent.
fn switch(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "rule")?;
    api::save(ctx.app, id, ctx.input()?, ctx.allowed(Edit, AlertRules)?)?;
    Ok(Reply::see_other("/alert-rules"))
}

fn reset(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "rule")?;
    let by = ctx.allowed(Edit, AlertRules)?;
    ctx.app.db.write(|tx| super::reset(ctx.app, tx, id, by))?;
    Ok(Reply::see_other("/alert-rules"))
}

fn delete(ctx: &Ctx) -> Result<Reply> {
    let id: Id<id::Rule> = ctx.id(0, "rule")?;
    let by = ctx.allowed(Edit, AlertRules)?;
    ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))?;
    Ok(Reply::see_other("/alert-rules"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::fleet::scope::Scope;

    #[test]
    fn a_rule_says_what_it_does_in_both_languages() {
        crate::kinds::join(crate::features::proxy::nswatch::FEATURE.kinds);
        let rule = |key: &str| Rule {
            id: Id::new(1000),
            builtin: None,
            fields: Fields::blank(Watches::parse(key).unwrap()),
            revision: 1,
            created_at: 0,
            updated_at: 0,
        };
        let said = |rule: &Rule| {
            Lang::ALL.map(|lang| say::sentence(lang, rule, |_| Some("shops".into())).replace('\u{a0}', " "))
        };
        let mut disk = rule("disk");
        assert_eq!(
            said(&disk),
            [
                "Any disk above 90 % for 5 min, until 85 % or below",
                "Любой диск выше 90 % дольше 5 мин, пока не станет 85 % или ниже"
            ]
        );
        (disk.fields.limit.mount, disk.fields.limit.for_s) = ("/srv".into(), 0);
        disk.fields.scope = Scope::tagged(&["db".into(), "shop".into()]);
        assert_eq!(
            said(&disk)[0],
            "Disk /srv above 90 %, until 85 % or below; only servers tagged db, shop"
        );
        assert_eq!(
            said(&rule("load5"))[0],
            "Load of 5 minutes above 2 per core for 10 min, until 1.5 per core or below"
        );
        assert_eq!(
            said(&rule("disk_trend")),
            [
                "Any disk full in less than 24 h as it fills now, until it is 36 h or more",
                "Любой диск заполнится раньше чем через 24 ч, если так пойдёт дальше, пока не станет 36 ч или больше"
            ]
        );
        let mut mismatch = rule("ns.mismatch");
        mismatch.fields.scope = Scope::in_groups(&[1]);
        assert_eq!(said(&mismatch)[0], "Name servers are not as wanted; only in shops");
        for key in Watches::names() {
            for text in said(&rule(key)) {
                assert!(!text.contains("rule.") && !text.contains('{'), "{key}: {text}");
            }
        }
    }
}
