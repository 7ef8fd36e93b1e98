//! What a secret may be, and when its end comes near.

use super::generate::{self, CHARACTERS, SETS, WORDS};
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::{Error, Result};
use crate::base::host::UserName;
use crate::base::id;
use crate::base::secret::Secret;
use crate::form::Input;
use crate::form::param::{self, Param};

/// Types of secrets.
pub const TYPES: [&str; 4] = ["password", "token", "text", "private_key"];
/// What can be made here.
pub const GENERATORS: [&str; 3] = ["password", "words", "ed25519"];
/// What happens when another value is due.
pub const PLANS: [&str; 3] = ["remind", "rotate", "apply"];
/// What a lease is.
pub const LEASE_KINDS: [&str; 3] = ["copy", "account", "key"];
/// A year, in seconds.
const LEASE_MAX: i64 = 366 * 86_400;
/// A day.
const LEASE_DEFAULT: i64 = 86_400;
/// Kinds of places in a scope.
const PLACES: [&str; 5] = ["servers", "endpoints", "exporter", "playbooks", "services"];
/// Longest value in bytes.
pub const VALUE_MAX: usize = 32 << 10;
/// Ten years, in seconds.
const INTERVAL_MAX: i64 = 10 * 366 * 86_400;

/// Parameters of a value.
const VALUE: [Param; 7] = [
    param::secret(
        "value",
        VALUE_MAX,
        "The secret itself; it is sealed and given out by `reveal` alone. The line end that a file ends with is no part of a password or token.",
    ),
    param::secret("passphrase", 1_024, "What a private key is locked with."),
    param::link(
        "plugin_id",
        "A plugin that is asked for the value, instead of `value`; only who may reveal secrets may have it asked.",
    ),
    param::text(
        "plugin_secret",
        500,
        "What the plugin is asked for: `path#key`, or in a file `key`.",
    ),
    param::choice("generate", &GENERATORS, "Make a value here, instead of `value`."),
    param::number(
        "length",
        1..=CHARACTERS.1 as i64,
        "Of a generated password in characters (12 to 256), of words in words (5 to 16).",
    ),
    param::words(
        "sets",
        SETS.len(),
        16,
        "Of a generated password: `lower`, `upper`, `digits`, `symbols`; all where it is left out.",
    ),
];

/// Parameters of a draft.
pub const PARAMS: &[Param] = &param::joined::<22>(&[
    &[
        param::name("name", "What it is called; no other secret has it.").required(),
        param::choice("type", &TYPES, "What it is; that stays.").required(),
        param::list("tags", 50, 50, "Tags."),
        param::text("notes", 2_000, "Notes; they are no secret."),
        param::text(
            "expires_at",
            64,
            "When its value ends, in UTC, like 2026-01-02T03:04; never: null or empty.",
        ),
        param::maybe_number(
            "rotation_interval_s",
            3_600..=INTERVAL_MAX,
            "A value that is older than this is due for another one.",
        ),
        param::words(
            "scope",
            100,
            64,
            "Where it may be used: `servers`, `server:5`, `endpoints`, `exporter`, `playbooks`, `services`.",
        ),
        param::choice(
            "plan",
            &PLANS,
            "What happens when another value is due: a reminder, a new value here, or one that is put on its hosts too.",
        ),
        param::text(
            "hours",
            11,
            "By itself only between these, like 02:00-04:00; empty: at any time.",
        ),
        param::words(
            "lessees",
            100,
            80,
            "Who may lease it: `role:automation`, `role:operator`, `user:LOGIN`, `token:12`.",
        ),
        param::choice(
            "lease_kind",
            &LEASE_KINDS,
            "What a lease is: a copy of the value, an account or a key on a server that goes with it.",
        ),
        param::number(
            "lease_max_s",
            60..=LEASE_MAX,
            "The longest lease in seconds, with all renewals.",
        ),
        param::links(
            "lease_servers",
            1_000,
            "Servers on which accounts and keys may be leased.",
        ),
        param::text(
            "lease_account",
            200,
            "Of a key: the account that it opens. Of an account: the groups it is in, with commas.",
        ),
        param::flag("lease_rotates", "Another value when a leased copy ends."),
    ],
    &VALUE,
]);

/// Parameters of a new value.
pub const ROTATE: &[Param] = &VALUE;

/// Read-only fields of the answer, ignored when sent back.
const READ_ONLY: &[&str] = &[
    "id",
    "version",
    "versions",
    "public_key",
    "state",
    "rotated_at",
    "rotation_due_at",
    "used",
    "rotation",
    "created_at",
    "updated_at",
];

/// What is known of a secret besides its values.
#[derive(Debug, Clone)]
pub struct Fields {
    /// Unique regardless of case.
    pub name: String,
    /// One of [`TYPES`].
    pub kind: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Notes, which are no secret.
    pub notes: String,
    /// When the value ends, unix ms.
    pub expires_at: Option<Ms>,
    /// The age at which the value is due for another one, in seconds.
    pub rotation_interval_s: Option<i64>,
    /// Where it may be used.
    pub scope: Vec<String>,
    /// One of [`PLANS`].
    pub plan: &'static str,
    /// `02:00-04:00`; empty: any time.
    pub hours: String,
    /// Who may lease it.
    pub lessees: Vec<String>,
    /// One of [`LEASE_KINDS`].
    pub lease_kind: &'static str,
    /// Longest lease in seconds.
    pub lease_max_s: i64,
    /// Where accounts and keys may be leased.
    pub lease_servers: Vec<i64>,
    /// See [`PARAMS`].
    pub lease_account: String,
    /// Another value when a leased copy ends.
    pub lease_rotates: bool,
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            name: String::new(),
            kind: String::new(),
            tags: Vec::new(),
            notes: String::new(),
            expires_at: None,
            rotation_interval_s: None,
            scope: Vec::new(),
            plan: PLANS[0],
            hours: String::new(),
            lessees: Vec::new(),
            lease_kind: LEASE_KINDS[0],
            lease_max_s: LEASE_DEFAULT,
            lease_servers: Vec::new(),
            lease_account: String::new(),
            lease_rotates: false,
        }
    }
}

impl Fields {
    /// Does it reach further than `old`: may it be used or leased where it might not be before?
    pub fn reaches_beyond(&self, old: &Fields) -> bool {
        let more = |new: &[String], old: &[String]| new.iter().any(|word| !old.contains(word));
        more(&self.scope, &old.scope) || more(&self.lessees, &old.lessees)
    }
}

/// Minutes of the day from and to; the second may be the smaller one, over midnight.
pub fn hours(text: &str) -> Option<(i64, i64)> {
    let minutes = |text: &str| {
        let (h, m) = text.split_once(':')?;
        let two = |t: &str| {
            t.parse::<i64>()
                .ok()
                .filter(|_| t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit()))
        };
        let (h, m) = (two(h)?, two(m)?);
        (h < 24 && m < 60).then_some(h * 60 + m)
    };
    let (from, to) = text.split_once('-')?;
    let both = (minutes(from)?, minutes(to)?);
    (both.0 != both.1).then_some(both)
}

fn is_place(word: &str) -> bool {
    let server = word.strip_prefix("server:");
    PLACES.contains(&word) || server.is_some_and(|id| id.parse::<i64>().is_ok_and(|id| id > 0))
}

fn is_lessee(word: &str) -> bool {
    match word.split_once(':') {
        Some(("role", role)) => ["automation", "operator", "admin"].contains(&role),
        Some(("user", login)) => !login.is_empty(),
        Some(("token", id)) => id.parse::<i64>().is_ok_and(|id| id > 0),
        _ => false,
    }
}

/// Names of Linux groups or accounts, with commas.
fn are_accounts(text: &str) -> bool {
    let good = |word: &str| UserName::parse(word.trim()).is_ok();
    text.is_empty() || text.split(',').all(good)
}

/// A checked value.
#[derive(Debug)]
pub struct Value {
    /// The secret itself.
    pub value: Secret,
    /// Of a private key.
    pub passphrase: Option<Secret>,
    /// Of a private key: the line for `authorized_keys`; else empty.
    pub public_key: String,
    /// `given` or `generated`.
    pub origin: &'static str,
}

/// Opens a pasted private key with its passphrase: the key as OpenSSH takes it, and its public half.
pub type Opens<'a> = &'a dyn Fn(&Secret, Option<&Secret>) -> Result<(Secret, String)>;

/// Reads a draft over `base`: fields that are not sent keep its values. `base.kind` is empty for a new one, which needs a
/// value. Error: invalid fields.
pub fn read(mut input: Input, base: Fields, opens: Opens, now: Ms) -> Result<(Fields, Option<Value>)> {
    let (is_new, mut f) = (base.kind.is_empty(), base);
    let i = &mut input;
    if let Some(name) = i.name("name") {
        f.name = name;
    }
    match i.choice("type") {
        Some(kind) if is_new => f.kind = kind.into(),
        Some(kind) if kind != f.kind => i.wrong("type", "type_stays", "A secret stays what it is. Make another one."),
        _ => {}
    }
    if let Some(tags) = i.list("tags") {
        f.tags = tags;
        f.tags.sort();
        f.tags.dedup();
    }
    if let Some(notes) = i.text("notes") {
        f.notes = notes;
    }
    match i.maybe_text("expires_at") {
        None => {}
        Some(None) => f.expires_at = None,
        Some(Some(text)) => match clock::parse_utc(&text) {
            None => i.wrong(
                "expires_at",
                "bad_time",
                "A time is written like 2026-01-02T03:04, in UTC.",
            ),
            // What is over already may be sent back as it stands.
            Some(at) if at <= now && f.expires_at != Some(at) => {
                i.wrong("expires_at", "time_over", "This time is over.");
            }
            Some(at) => f.expires_at = Some(at),
        },
    }
    if let Some(interval) = i.maybe_number("rotation_interval_s") {
        f.rotation_interval_s = interval;
    }
    for (field, is_missing) in [("name", f.name.is_empty()), ("type", f.kind.is_empty())] {
        if is_missing && !i.has_error(field) {
            i.wrong(field, "required", format!("A secret has a {field}."));
        }
    }
    plan(i, &mut f);
    lease(i, &mut f);
    let value = value(i, &f.kind, is_new, opens);
    input.finish(READ_ONLY)?;
    Ok((f, value))
}

fn plan(i: &mut Input, f: &mut Fields) {
    if let Some(scope) = i.words("scope") {
        match scope.iter().find(|word| !is_place(word)) {
            None => f.scope = sorted(scope),
            Some(word) => {
                let say = format!(
                    "“{word}” is no place to use it. Known are: {}, server:5.",
                    PLACES.join(", ")
                );
                i.wrong("scope", "bad_choice", say);
            }
        }
    }
    if let Some(plan) = i.choice("plan") {
        f.plan = plan;
    }
    let span = i.parse("hours", "bad_hours", |text| {
        match text.is_empty() || hours(text).is_some() {
            true => Ok(text.to_string()),
            false => Err("Hours are written like 02:00-04:00.".into()),
        }
    });
    if let Some(hours) = span {
        f.hours = hours;
    }
    if f.plan == "apply" && !["password", "private_key"].contains(&f.kind.as_str()) && !f.kind.is_empty() {
        let say = "Only passwords and private keys can be put on hosts. Choose “rotate”.";
        i.wrong("plan", "wrong_type", say);
    }
}

fn lease(i: &mut Input, f: &mut Fields) {
    if let Some(lessees) = i.words("lessees") {
        match lessees.iter().find(|word| !is_lessee(word)) {
            None => f.lessees = sorted(lessees),
            Some(word) => {
                let say = format!("“{word}” is nobody. Write role:automation, user:LOGIN or token:12.");
                i.wrong("lessees", "bad_choice", say);
            }
        }
    }
    if let Some(kind) = i.choice("lease_kind") {
        f.lease_kind = kind;
    }
    if let Some(max) = i.number("lease_max_s") {
        f.lease_max_s = max;
    }
    if let Some(servers) = i.links::<id::Server>("lease_servers") {
        f.lease_servers = servers.into_iter().map(|id| id.get()).collect();
    }
    if let Some(rotates) = i.flag("lease_rotates") {
        f.lease_rotates = rotates;
    }
    if let Some(account) = i.text("lease_account") {
        f.lease_account = account;
    }
    if !are_accounts(&f.lease_account) {
        i.wrong(
            "lease_account",
            "bad_user",
            "These are names of accounts or groups on a Linux system, with commas.",
        );
    }
    if f.lease_kind == "key" && (f.lease_account.is_empty() || f.lease_account.contains(',')) {
        i.wrong(
            "lease_account",
            "required",
            "Name the one account that leased keys open.",
        );
    }
    if f.lease_kind != "copy" && f.lease_servers.is_empty() && !i.has_error("lease_servers") {
        i.wrong("lease_servers", "required", "Say on which servers it may be leased.");
    }
}

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words.dedup();
    words
}

/// Another value of the same make as the one in force: as many characters, words, or a key.
pub fn another(kind: &str, old: &Secret) -> Result<Value> {
    let text = old.reveal_text_for("how long it is");
    let is_words = text.len() >= 29
        && text
            .split('-')
            .all(|word| word.len() == 5 && word.bytes().all(|b| b.is_ascii_lowercase()));
    let (value, public_key) = match kind {
        "private_key" => generate::ed25519()?,
        _ if is_words => (generate::words(text.split('-').count().min(WORDS.1)), String::new()),
        _ => {
            let length = text.len().clamp(CHARACTERS.2, CHARACTERS.1);
            let all: Vec<&str> = SETS.iter().map(|(_, set)| *set).collect();
            (generate::characters(length, &all), String::new())
        }
    };
    Ok(Value {
        value,
        passphrase: None,
        public_key,
        origin: "generated",
    })
}

/// Reads the value that takes the place of the one in force; where nothing is said a fitting one is made. Error: invalid
/// fields.
pub fn read_rotation(mut input: Input, kind: &str, opens: Opens) -> Result<Value> {
    let i = &mut input;
    let value = value(i, kind, true, opens);
    input.finish(&[])?;
    value.ok_or_else(|| Error::internal("a rotation without a value"))
}

fn value(i: &mut Input, kind: &str, is_needed: bool, opens: Opens) -> Option<Value> {
    let given = i.secret("value").flatten();
    let passphrase = i.secret("passphrase").flatten();
    let generator = i.choice("generate");
    let length = i.number("length").map(|n| n as usize);
    let sets = i.words("sets").unwrap_or_default();
    if kind.is_empty() || i.has_error("type") {
        return None; // said already
    }
    let is_key = kind == "private_key";
    if passphrase.is_some() && !(is_key && given.is_some()) {
        let say = "A passphrase comes with a private key as its value.";
        i.wrong("passphrase", "passphrase_alone", say);
    }
    match (given, generator) {
        (Some(_), Some(_)) => i.wrong(
            "generate",
            "value_or_generate",
            "Give a value, or have one made, not both.",
        ),
        (Some(given), None) => return checked(i, is_key, kind, given, passphrase, opens),
        (None, Some(generator)) => return made(i, is_key, generator, length, &sets),
        (None, None) if is_needed && !i.has_error("value") => {
            i.wrong("value", "required", "Give its value, or say how one is made.");
        }
        (None, None) => {}
    }
    None
}

fn checked(
    i: &mut Input,
    is_key: bool,
    kind: &str,
    given: Secret,
    passphrase: Option<Secret>,
    opens: Opens,
) -> Option<Value> {
    let (value, public_key) = match is_key {
        true => match opens(&given, passphrase.as_ref()) {
            Ok(opened) => opened,
            Err(e) => {
                let field = match e.code {
                    "ssh_passphrase_needed" | "ssh_wrong_passphrase" => "passphrase",
                    _ => "value",
                };
                i.wrong(field, e.code, e.say);
                return None;
            }
        },
        false => (given, String::new()),
    };
    let text = value.reveal_text_for("is it one line?");
    let line = ["password", "token"].contains(&kind).then(|| without_end(text));
    let value = match line {
        None => value,
        Some("") => {
            i.wrong("value", "required", "Give its value, or say how one is made.");
            return None;
        }
        Some(line) if line.contains(char::is_control) => {
            let say = format!("A {kind} is one line. What has more of them is a text.");
            i.wrong("value", "one_line", say);
            return None;
        }
        Some(line) => Secret::new(line),
    };
    Some(Value {
        value,
        passphrase,
        public_key,
        origin: "given",
    })
}

/// A line without the end that a file has.
fn without_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

fn made(i: &mut Input, is_key: bool, generator: &str, length: Option<usize>, sets: &[String]) -> Option<Value> {
    if is_key != (generator == "ed25519") {
        let say = "A private key is made by ed25519, everything else by password or words.";
        i.wrong("generate", "wrong_generator", say);
        return None;
    }
    let (least, most, usual) = if generator == "words" { WORDS } else { CHARACTERS };
    let length = length.unwrap_or(usual);
    if generator != "ed25519" && !(least..=most).contains(&length) {
        let say = format!("length is {least} to {most} here.");
        i.wrong("length", "bad_length", say);
        return None;
    }
    let known = |name: &String| SETS.iter().find(|(known, _)| known == name).map(|(_, set)| *set);
    let mut chosen: Vec<&str> = sets.iter().filter_map(known).collect();
    if chosen.len() < sets.len() {
        i.wrong("sets", "bad_choice", "sets are: lower, upper, digits, symbols.");
        return None;
    }
    if chosen.is_empty() {
        chosen = SETS.iter().map(|(_, set)| *set).collect();
    }
    let (value, public_key) = match generator {
        "ed25519" => match generate::ed25519() {
            Ok(made) => made,
            Err(e) => {
                i.wrong("generate", e.code, e.say);
                return None;
            }
        },
        "words" => (generate::words(length), String::new()),
        _ => (generate::characters(length, &chosen), String::new()),
    };
    Some(Value {
        value,
        passphrase: None,
        public_key,
        origin: "generated",
    })
}

/// How near its end is: 0 far, 1 within two weeks, 2 within three days, 3 it is over.
pub fn stage(expires_at: Option<Ms>, now: Ms) -> i64 {
    match expires_at.map(|at| at - now) {
        None => 0,
        Some(left) if left <= 0 => 3,
        Some(left) if left <= 3 * DAY => 2,
        Some(left) if left <= 14 * DAY => 1,
        Some(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn draft(fields: serde_json::Value) -> Result<(Fields, Option<Value>)> {
        let opens = |key: &Secret, _: Option<&Secret>| Ok((key.clone(), "ssh-ed25519 A".to_string()));
        let input = Input::of(PARAMS, fields.as_object().unwrap().clone());
        read(input, Fields::default(), &opens, 1_000 * DAY)
    }

    #[test]
    fn a_secret_has_a_name_a_type_and_one_value() {
        let (fields, value) =
            draft(json!({ "name": "db", "type": "password", "value": "x", "tags": ["b", "a", "b"] })).unwrap();
        assert_eq!(
            (fields.tags, value.unwrap().origin),
            (vec!["a".into(), "b".into()], "given")
        );
        let (_, value) = draft(json!({ "name": "db", "type": "token", "generate": "words", "length": "6" })).unwrap();
        assert_eq!(value.unwrap().value.reveal_for("a test").len(), 35);
        for (fields, wrong) in [
            (json!({ "name": "db", "type": "password" }), "value"),
            (json!({ "type": "password", "value": "x" }), "name"),
            (json!({ "name": "db", "value": "x" }), "type"),
            (json!({ "name": "db", "type": "password", "value": "x\ny" }), "value"),
            (
                json!({ "name": "db", "type": "password", "value": "x", "generate": "words" }),
                "generate",
            ),
            (
                json!({ "name": "db", "type": "password", "generate": "ed25519" }),
                "generate",
            ),
            (
                json!({ "name": "db", "type": "private_key", "generate": "words" }),
                "generate",
            ),
            (
                json!({ "name": "db", "type": "password", "generate": "password", "length": 11 }),
                "length",
            ),
            (
                json!({ "name": "db", "type": "password", "generate": "password", "sets": "lower greek" }),
                "sets",
            ),
            (
                json!({ "name": "db", "type": "password", "value": "x", "passphrase": "y" }),
                "passphrase",
            ),
            (
                json!({ "name": "db", "type": "text", "value": "x", "expires_at": "1970-01-02T00:00" }),
                "expires_at",
            ),
            (
                json!({ "name": "db", "type": "text", "value": "x", "rotation_interval_s": 60 }),
                "rotation_interval_s",
            ),
        ] {
            let refused = draft(fields.clone()).expect_err("was taken");
            assert!(refused.fields.iter().any(|f| f.field == wrong), "{fields}: {refused:?}");
        }
    }

    #[test]
    fn the_line_end_of_a_file_is_no_part_of_a_password() {
        for (kind, given, kept) in [
            ("password", "x y\n", Some("x y")),
            ("token", "x\r\n", Some("x")),
            ("token", "x\n\n", None),
            ("password", "\n", None),
            ("text", "a\nb\n", Some("a\nb\n")),
        ] {
            let read = draft(json!({ "name": "db", "type": kind, "value": given }));
            let value = read.ok().and_then(|(_, value)| value);
            let value = value.map(|v| v.value.reveal_text_for("a test").to_string());
            assert_eq!(value.as_deref(), kept, "{kind} {given:?}");
        }
    }

    #[test]
    fn its_end_is_told_two_weeks_and_three_days_before() {
        for (left, said) in [
            (15 * DAY, 0),
            (14 * DAY, 1),
            (3 * DAY + 1, 1),
            (3 * DAY, 2),
            (1, 2),
            (0, 3),
            (-DAY, 3),
        ] {
            assert_eq!(stage(Some(1_000 * DAY + left), 1_000 * DAY), said, "{left}");
        }
        assert_eq!(stage(None, 0), 0);
    }
}
