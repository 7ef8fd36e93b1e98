//! Every setting that can change while the daemon runs: one row of one table. Page, API, validation and defaults read it
//! from here. A setting is asked for where it is used, so a change holds from the next use on.

pub mod check;
mod queries;

use crate::base::clock;
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::text::unseen;
use crate::db::{Conn, Tx};
use crate::net::dns;
use std::fmt;

/// What a value may be, and what holds when nobody has set it.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// A whole number between two bounds.
    Number {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// `s`, `d`, `` …
        unit: &'static str,
        /// See the type.
        default: i64,
    },
    /// Text on one line.
    Text {
        /// Longest, in bytes.
        max: usize,
        /// See the type.
        default: &'static str,
        /// The form it is kept in, or a sentence about what it must be. Sees neither control characters nor outer spaces.
        check: fn(&str) -> std::result::Result<String, String>,
    },
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// `section.name`.
    pub key: &'static str,
    /// Its type, bounds and default.
    pub kind: Type,
    /// One sentence.
    pub help: &'static str,
    /// The same in Russian.
    pub help_ru: &'static str,
}

/// What a setting holds. In JSON a number or a string.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Of [`Type::Number`].
    Number(i64),
    /// Of [`Type::Text`].
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(n) => n.fmt(f),
            Value::Text(text) => f.write_str(text),
        }
    }
}

macro_rules! number {
    ($key:literal, $default:literal, $min:literal..=$max:literal, $unit:literal, $help:literal, $ru:literal) => {
        Setting {
            key: $key,
            kind: Type::Number {
                min: $min,
                max: $max,
                unit: $unit,
                default: $default,
            },
            help: $help,
            help_ru: $ru,
        }
    };
}

macro_rules! text {
    ($key:literal, $default:literal, $max:literal, $check:expr, $help:literal, $ru:literal) => {
        Setting {
            key: $key,
            kind: Type::Text {
                max: $max,
                default: $default,
                check: $check,
            },
            help: $help,
            help_ru: $ru,
        }
    };
}

/// All of them, in the order of the page.
pub const TABLE: &[Setting] = &[
    number!(
        "poll.fail_threshold",
        3,
        1..=20,
        "",
        "Missed polls in a row until a lamp is dark.",
        "Пропущенных опросов подряд, после которых фонарь гаснет."
    ),
    number!(
        "poll.threads_max",
        128,
        4..=512,
        "",
        "Most threads that poll at the same time; taken over at start.",
        "Наибольшее число потоков опроса; действует после перезапуска."
    ),
    text!(
        "dns.resolvers",
        "",
        300, // six IPv6 addresses with brackets and ports
        |text| dns::parse_servers(text).map(|_| text.into()),
        "The name servers that Lamplighter asks: up to six addresses, like 192.0.2.1 or [2001:db8::1]:53, with spaces between. Empty: those of /etc/resolv.conf.",
        "Серверы имён, которые спрашивает Lamplighter: до шести адресов через пробел, например 192.0.2.1 или [2001:db8::1]:53. Пусто: из /etc/resolv.conf."
    ),
    number!(
        "nswatch.interval_min",
        15,
        1..=1440,
        "min",
        "How often each domain's name servers are looked at.",
        "Как часто проверять серверы имён каждого домена."
    ),
    number!(
        "certwatch.interval_min",
        60,
        1..=1440,
        "min",
        "How often the certificate that each domain shows is looked at.",
        "Как часто проверять сертификат, который показывает каждый домен."
    ),
    number!(
        "sitewatch.interval_s",
        60,
        0..=3600,
        "s",
        "How often each site is asked from here whether it answers. 0: never, then nothing tells that it does not.",
        "Как часто отсюда проверять, отвечает ли каждый сайт. 0: никогда, тогда об отказе ничто не сообщит."
    ),
    number!(
        "drift.interval_min",
        15,
        1..=1440,
        "min",
        "How often the sites on the servers are compared with what was deployed.",
        "Как часто сравнивать сайты на серверах с тем, что было развёрнуто."
    ),
    text!(
        "glances.allow",
        "",
        1_000,
        check::guests,
        "Who may ask Glances on a server that is added from now on: addresses and blocks like 10.0.0.0/8, with spaces or commas between; controller is this Lamplighter, as the server sees it. Empty: everyone. Each server has a list of its own, which holds from its next installation of Glances on.",
        "Кто может спрашивать Glances на серверах, добавленных с этого момента: адреса и сети вида 10.0.0.0/8 через пробел или запятую; controller — этот Lamplighter, каким его видит сервер. Пусто: все. У каждого сервера свой список, он действует со следующей установки Glances."
    ),
    text!(
        "glances.bind",
        "",
        4,
        check::bind,
        "Where Glances listens on a server that is added from now on: host is the one address that the server is known by, without a login, for a private network (a server that is known by a name gets the usual). Empty, the usual: behind nginx with TLS and a password. It holds from the next installation of Glances on; each server can be changed.",
        "Где Glances слушает на серверах, добавленных с этого момента: host — один адрес, под которым сервер известен, без пароля, для частной сети (сервер, известный по имени, получает обычное). Пусто, обычное: за nginx с TLS и паролем. Действует со следующей установки Glances; у каждого сервера можно изменить."
    ),
    text!(
        "glances.bundle",
        "",
        300, // room for a long path
        check::tar_path,
        "For servers whose release has no Glances package: a tar of Python wheels on this machine, which Lamplighter puts on the server itself. Empty: pip on the server asks the index it is set up for. To make one: pip download --only-binary=:all: -d wheels 'glances[web]<5' with the server's version of Python, then tar -C wheels -cf glances.tar .",
        "Для серверов, в чьём выпуске нет пакета Glances: tar-архив wheel-пакетов Python на этой машине, Lamplighter сам положит его на сервер. Пусто: pip на сервере спрашивает настроенный там индекс. Как собрать: pip download --only-binary=:all: -d wheels 'glances[web]<5' той же версией Python, что на сервере, затем tar -C wheels -cf glances.tar ."
    ),
    text!(
        "acme.email",
        "",
        200, // RFC 5321 allows 254; nobody's address is that long
        check::email,
        "Where the certificate authority writes when something is wrong with an account. Empty: an account without an address.",
        "Куда центр сертификации пишет о проблемах с учётной записью. Пусто: учётная запись без адреса."
    ),
    text!(
        "acme.directory",
        "https://acme-v02.api.letsencrypt.org/directory",
        300, // room for a long name and path of a private CA
        check::https_url,
        "The directory of the certificate authority (ACME, RFC 8555): Let's Encrypt, its staging server, or a CA of your own.",
        "Каталог центра сертификации (ACME, RFC 8555): Let's Encrypt, его тестовый сервер или собственный центр."
    ),
    number!(
        "nginx.hsts_max_age_s",
        31_536_000,
        0..=63_072_000, // two years is what the browsers' preload list asks for; longer has no use
        "s",
        "How long browsers remember that a domain with HSTS is asked by TLS only.",
        "Как долго браузеры помнят, что домен с HSTS доступен только по TLS."
    ),
    text!(
        "site.public_url",
        "",
        300, // room for a long name and a path
        check::base_url,
        "Where people find this Lamplighter, like https://lamp.example.com: messages link there. Empty: no links.",
        "Где люди находят этот Lamplighter, например https://lamp.example.com: туда ведут ссылки из сообщений. Пусто: без ссылок."
    ),
    number!(
        "messages.min_interval_s",
        300,
        0..=86400,
        "s",
        "The same thing is told to the same receiver at most this often; what comes in between is counted.",
        "Об одном и том же один получатель узнаёт не чаще; сообщения между ними подсчитываются."
    ),
    number!(
        "alerts.flap_count",
        4,
        2..=100,
        "",
        "How often an alert begins within the time below until it is taken to flap: one message says so, then there are none until it is calm.",
        "Сколько раз тревога должна начаться за указанное ниже время, чтобы считаться мигающей: об этом одно сообщение, дальше тишина, пока не успокоится."
    ),
    number!(
        "alerts.flap_window_min",
        30,
        1..=1440,
        "min",
        "Within which time an alert has to begin that often.",
        "За какое время тревога должна начаться столько раз."
    ),
    number!(
        "alerts.calm_min",
        15,
        1..=1440,
        "min",
        "How long an alert that flaps must stay as it is until its state is told.",
        "Сколько мигающая тревога должна не меняться, чтобы о её состоянии сообщили."
    ),
    number!(
        "messages.max_age_h",
        24,
        1..=168,
        "h",
        "How long an undelivered message is tried again.",
        "Как долго повторять попытки доставить сообщение."
    ),
    text!(
        "messages.networks",
        "",
        300, // eight IPv6 blocks
        check::networks,
        "Messages go to public addresses only. Networks of your own that they may go to as well: up to eight blocks like 10.0.0.0/8 or 127.0.0.1, with spaces between.",
        "Сообщения уходят только на общедоступные адреса. Ваши сети, куда им тоже можно: до восьми блоков через пробел, например 10.0.0.0/8 или 127.0.0.1."
    ),
    text!(
        "messages.mail_name",
        "",
        253, // a DNS name
        check::own_name,
        "The name that Lamplighter greets mail servers with, or an address. Empty: its public address, else this machine's own name.",
        "Имя или адрес, которым Lamplighter приветствует почтовые серверы. Пусто: его публичный адрес, а без него собственное имя машины."
    ),
    number!(
        "retention.delivery_days",
        30,
        1..=3650,
        "d",
        "How long the log of sent messages is kept.",
        "Сколько хранить журнал отправленных сообщений."
    ),
    number!(
        "retention.deliveries_max",
        20_000,
        1_000..=1_000_000,
        "",
        "How many sent messages are kept at most; the oldest go first. What still waits to be sent is never counted.",
        "Сколько отправленных сообщений хранить самое большее; первыми уходят старые. Ждущие отправки не считаются."
    ),
    number!(
        "retention.task_days",
        30,
        1..=3650,
        "d",
        "How long finished tasks and their logs are kept.",
        "Сколько хранить завершённые задачи и их журналы."
    ),
    number!(
        "retention.tasks_max",
        20_000,
        100..=1_000_000,
        "",
        "How many finished tasks are kept at most; the oldest go first, with their logs.",
        "Сколько завершённых задач хранить самое большее; первыми уходят старые, вместе с журналами."
    ),
    number!(
        "retention.log_lines_max",
        2_000_000,
        100_000..=100_000_000, // one task writes up to 50 000
        "",
        "How many lines the logs of all finished tasks may have together; the oldest tasks go first.",
        "Сколько строк могут занимать журналы всех завершённых задач; первыми уходят старые задачи."
    ),
    number!(
        "retention.event_days",
        90,
        1..=3650,
        "d",
        "How long events and resolved alerts are kept.",
        "Сколько хранить события и закрытые оповещения."
    ),
    number!(
        "retention.events_max",
        200_000,
        1_000..=10_000_000,
        "",
        "How many events are kept at most; the oldest go first.",
        "Сколько событий хранить самое большее; первыми уходят старые."
    ),
    number!(
        "streams.per_user",
        8,
        1..=256,
        "",
        "Live streams one user may hold open.",
        "Сколько живых потоков может открыть один пользователь."
    ),
    number!(
        "retention.raw_hours",
        1,
        1..=168,
        "h",
        "How long every single measured value is kept.",
        "Сколько хранить каждое измеренное значение."
    ),
    number!(
        "retention.minute_hours",
        24,
        1..=720,
        "h",
        "How long minutes are kept: least, greatest and mean value.",
        "Сколько хранить минуты: наименьшее, наибольшее и среднее значение."
    ),
    number!(
        "retention.five_minute_days",
        7,
        1..=365,
        "d",
        "How long stretches of five minutes are kept.",
        "Сколько хранить отрезки по пять минут."
    ),
    number!(
        "retention.half_hour_days",
        30,
        1..=1095,
        "d",
        "How long half hours are kept.",
        "Сколько хранить получасовые отрезки."
    ),
    number!(
        "retention.hour_days",
        365,
        1..=3650,
        "d",
        "How long hours are kept: the longest that a chart can look back.",
        "Сколько хранить часы: насколько далеко назад может показать график."
    ),
    number!(
        "exporter.local",
        1,
        0..=2,
        "",
        "What programs on this machine read at /metrics without a token. 0: nothing. 1: Lamplighter's own figures. 2: the servers' as well. Set 0 when a proxy on this machine passes everything on and adds no X-Forwarded-For.",
        "Что программы на этой машине читают на /metrics без токена. 0: ничего. 1: показатели самого Lamplighter. 2: и серверов тоже. Ставьте 0, если прокси на этой машине пропускает всё и не добавляет X-Forwarded-For."
    ),
    text!(
        "push.url",
        "",
        300, // room for a long name and path
        check::base_url,
        "Where measured values are pushed to: a VictoriaMetrics, like http://192.0.2.5:8428. They go to /api/v1/import below it. Empty: nowhere.",
        "Куда отправлять измеренные значения: VictoriaMetrics, например http://192.0.2.5:8428. Они идут на /api/v1/import под ним. Пусто: никуда."
    ),
    text!(
        "push.read_url",
        "",
        300, // as above
        check::base_url,
        "Where charts read what is not kept here any more: mostly the same address; of a cluster, that of its queries, like http://192.0.2.5:8481/select/0/prometheus. It is shown the same user and secret. Empty: charts show what is kept here.",
        "Откуда графики берут то, что здесь уже не хранится: обычно тот же адрес; у кластера — адрес запросов, например http://192.0.2.5:8481/select/0/prometheus. Имя и секрет те же. Пусто: графики показывают то, что хранится здесь."
    ),
    text!(
        "push.user",
        "",
        100, // nobody's login is longer
        check::http_user,
        "Its user, when it wants user and password. Empty: the secret is sent as a bearer token.",
        "Его пользователь, если нужны имя и пароль. Пусто: секрет отправляется как bearer-токен."
    ),
    number!(
        "push.buffer_hours",
        6,
        1..=72,
        "h",
        "How long values wait for an engine that does not answer; older ones are not pushed any more.",
        "Сколько значения ждут хранилище, которое не отвечает; более старые уже не отправляются."
    ),
];

impl Setting {
    /// What holds when nobody has set it.
    pub fn default(&self) -> Value {
        match self.kind {
            Type::Number { default, .. } => Value::Number(default),
            Type::Text { default, .. } => Value::Text(default.into()),
        }
    }

    fn parse(&self, text: &str) -> std::result::Result<Value, String> {
        let text = text.trim();
        match self.kind {
            Type::Number { min, max, unit, .. } => match text.parse::<i64>() {
                Ok(n) if (min..=max).contains(&n) => Ok(Value::Number(n)),
                _ => Err(format!(
                    "{} is a whole number from {min} to {max}{}{unit}.",
                    self.key,
                    if unit.is_empty() { "" } else { " " }
                )),
            },
            Type::Text { max, .. } if text.len() > max => Err(format!(
                "{} may have at most {max} bytes; this has {}.",
                self.key,
                text.len()
            )),
            Type::Text { .. } if text.contains(|c: char| c.is_control() || unseen(c)) => Err(format!(
                "{} is one line without control or invisible characters.",
                self.key
            )),
            Type::Text { check, .. } => check(text).map(Value::Text),
        }
    }
}

fn find(key: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|s| s.key == key)
}

/// The value that holds now. An unknown key is a mistake of ours.
pub fn value(conn: &Conn, key: &str) -> Result<Value> {
    let setting = find(key).ok_or_else(|| Error::internal(format!("no setting {key}")))?;
    let stored = queries::get(conn, key)?;
    // What an older version took and this one does not is as good as unset.
    Ok(stored
        .and_then(|text| setting.parse(&text).ok())
        .unwrap_or_else(|| setting.default()))
}

/// The number that holds now.
pub fn number(conn: &Conn, key: &'static str) -> Result<i64> {
    match value(conn, key)? {
        Value::Number(n) => Ok(n),
        Value::Text(_) => Err(Error::internal(format!("{key} is no number"))),
    }
}

/// The text that holds now.
pub fn text(conn: &Conn, key: &'static str) -> Result<String> {
    match value(conn, key)? {
        Value::Text(text) => Ok(text),
        Value::Number(_) => Err(Error::internal(format!("{key} is no text"))),
    }
}

/// Sets one value after checking it; `None` takes the default back. Says whether another one holds now: what is sent back as
/// it was got leaves a default a default.
pub fn set(tx: &Tx, key: &str, value: Option<&str>, by: &str) -> Result<bool> {
    let setting = find(key).ok_or_else(|| Error::not_found("setting"))?;
    let before = self::value(tx, key)?;
    match value {
        Some(text) => {
            let value = setting.parse(text).map_err(|message| Error {
                fields: vec![Field {
                    field: setting.key,
                    code: match setting.kind {
                        Type::Number { .. } => "bad_number",
                        Type::Text { .. } => "bad_text",
                    },
                    message: message.clone(),
                }],
                ..Error::new(Kind::Invalid, "invalid", message)
            })?;
            if value != before {
                queries::put(tx, key, &value.to_string(), by, clock::now())?;
            }
            Ok(value != before)
        }
        None => {
            queries::remove(tx, key)?;
            Ok(setting.default() != before)
        }
    }
}
