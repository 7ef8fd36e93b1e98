//! A database of PostgreSQL (13 and newer), asked by `psql` on its server: a fixed set of queries that only read, each with
//! its own time limit. Texts of queries are shown without the values in them.

use super::{Check, Row};
use super::{Column, Config, Health, Kind, Look, Place, Table, Tables, keep, number, read_peer, text};
use crate::base::text::{cut, one_line};
use crate::form::Input;
use serde_json::{Map, Value};

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "postgres",
    place: Place::Server,
    acts: false,
    has_password: true,
    fields: &["database", "host", "port", "username", "os_user"],
    required: 1,
    read,
    home: |config| {
        let of = |name| text(config, name);
        format!(
            "{}:{} {}",
            of("host"),
            number(config, "port").unwrap_or_default(),
            of("username")
        )
    },
    check: Check::Postgres(|config| Postgres {
        os_user: text(config, "os_user").into(),
        conninfo: conninfo(config),
    }),
    keeps_token: false,
    tables: &[
        Table {
            name: "slow_queries",
            columns: &[
                Column::of("query", "code"),
                Column::of("calls", "number"),
                Column::of("mean_ms", "ms"),
                Column::of("total_ms", "ms"),
            ],
        },
        Table {
            name: "dead_rows",
            columns: &[
                Column::of("table", "code"),
                Column::of("dead_rows", "number"),
                Column::of("rows", "number"),
                Column::of("size_bytes", "bytes"),
                Column::of("vacuumed_s_ago", "seconds"),
            ],
        },
        Table {
            name: "replicas",
            columns: &[
                Column::of("name", "text"),
                Column::of("address", "code"),
                Column::of("state", "text"),
                Column::of("behind_bytes", "bytes"),
                Column::of("behind_s", "seconds"),
            ],
        },
    ],
};

/// How it is asked.
#[derive(Debug)]
pub struct Postgres {
    /// The user of the server that runs `psql`; empty: `postgres`, or the login user where there is a password.
    pub os_user: String,
    /// Of libpq, without the password.
    pub conninfo: String,
}

/// What is asked. Each answer is a line: `@word` and an object; what goes wrong is a line of psql's own.
pub const QUERIES: &str = r#"\set VERBOSITY terse
\pset fieldsep ' '
SET application_name = 'lamplighter';
SET default_transaction_read_only = on;
SET statement_timeout = '3s';
SET lock_timeout = '1s';
\echo @ping
\timing on
SELECT 1;
\timing off
SELECT pg_is_in_recovery() AS standby, coalesce((SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'pg_stat_statements'), '') AS schema,
  EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements') AS has_statements \gset
SELECT '@server', jsonb_build_object('version', current_setting('server_version_num')::int,
  'uptime_s', round(extract(epoch FROM now() - pg_postmaster_start_time())),
  'standby', pg_is_in_recovery(), 'max', current_setting('max_connections')::int,
  'reserved', current_setting('superuser_reserved_connections')::int
    + coalesce(current_setting('reserved_connections', true)::int, 0));
SELECT '@size', jsonb_build_object('bytes', pg_database_size(current_database()));
SELECT '@connections', jsonb_build_object('all', count(*),
  'active', count(*) FILTER (WHERE state = 'active' AND pid <> pg_backend_pid()),
  'idle', count(*) FILTER (WHERE state = 'idle'),
  'idle_in_transaction', count(*) FILTER (WHERE state LIKE 'idle in transaction%'),
  'oldest_s', coalesce(round(extract(epoch FROM max(now() - xact_start) FILTER (WHERE pid <> pg_backend_pid()))), 0))
  FROM pg_stat_activity WHERE backend_type = 'client backend';
SELECT '@locks', jsonb_build_object('waiting', count(*)) FROM pg_locks WHERE NOT granted;
SELECT '@database', jsonb_build_object('commits', xact_commit, 'rollbacks', xact_rollback, 'hit', blks_hit, 'read', blks_read,
  'deadlocks', deadlocks, 'temp_bytes', temp_bytes,
  'age', (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()))
  FROM pg_stat_database WHERE datname = current_database();
SELECT '@dead', jsonb_build_object('all', coalesce(sum(n_dead_tup), 0)) FROM pg_stat_user_tables;
SELECT '@tables', jsonb_build_object('rows', coalesce(jsonb_agg(t), '[]')) FROM (
  SELECT left(schemaname || '.' || relname, 120) AS table, n_dead_tup AS dead_rows, n_live_tup AS rows,
    pg_total_relation_size(relid) AS size_bytes,
    round(extract(epoch FROM now() - greatest(last_vacuum, last_autovacuum))) AS vacuumed_s_ago
  FROM pg_stat_user_tables WHERE n_dead_tup > 0 ORDER BY n_dead_tup DESC LIMIT 10) t;
\if :has_statements
SELECT '@statements', jsonb_build_object('rows', coalesce(jsonb_agg(q), '[]')) FROM (
  SELECT left(regexp_replace(query, '\s+', ' ', 'g'), 600) AS query, calls, round(mean_exec_time::numeric, 2) AS mean_ms,
    round(total_exec_time::numeric) AS total_ms
  FROM :schema.pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND query ~* '^\s*(select|insert|update|delete|with|merge)\M'
    AND query NOT LIKE 'SELECT $1, jsonb_build_object($2%' AND query NOT LIKE 'SELECT pg_is_in_recovery() AS standby%'
  ORDER BY mean_exec_time DESC LIMIT 10) q;
\endif
\if :standby
SELECT '@standby', jsonb_build_object(
  'linked', EXISTS (SELECT 1 FROM pg_stat_wal_receiver),
  'bytes', greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0),
  's', CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
    ELSE round(extract(epoch FROM now() - pg_last_xact_replay_timestamp())) END);
\else
SELECT '@replicas', jsonb_build_object('rows', coalesce(jsonb_agg(r), '[]')) FROM (
  SELECT left(application_name, 60) AS name, coalesce(host(client_addr), '') AS address, state,
    pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) AS behind_bytes,
    round(extract(epoch FROM replay_lag)::numeric, 1) AS behind_s
  FROM pg_stat_replication ORDER BY application_name LIMIT 20) r;
SELECT '@slots', jsonb_build_object('kept_bytes', coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0))
  FROM pg_replication_slots;
\endif
\echo @end
"#;

/// The code of a password that psql cannot be given.
pub const BAD_PASSWORD: i64 = 65;

/// So full is too full, percent of what ordinary users may have.
const FULL: f64 = 90.0;
/// Transactions after which an unfrozen row is near the end (PostgreSQL itself stops at two thousand million).
const AGE_MAX: f64 = 1.5e9;
/// Longest text of a query that is shown.
const QUERY_MAX: usize = 200;

fn read(i: &mut Input, config: &mut Config) {
    read_peer(i, config);
    config.remove("tls");
    let name = |text: &str| match text.len() <= 63 && text.chars().all(|c| c.is_alphanumeric() || "_-.$".contains(c)) {
        true => Ok(text.to_string()),
        false => Err("A name has at most 63 letters, digits and _ - . $.".to_string()),
    };
    for field in ["database", "username", "os_user"] {
        let value = i.parse(field, "bad_name", name);
        keep(config, field, value);
    }
}

/// Names are of harmless characters: none ends a value.
fn conninfo(config: &Config) -> String {
    let port = number(config, "port").map(|port| port.to_string()).unwrap_or_default();
    let words = [
        ("dbname", text(config, "database")),
        ("host", text(config, "host")),
        ("port", &port),
        ("user", text(config, "username")),
        ("connect_timeout", "5"),
    ];
    let given = words.iter().filter(|(_, value)| !value.is_empty());
    given
        .map(|(key, value)| format!("{key}='{value}'"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What psql's end and output mean; `ready` is the code of `pg_isready`, asked where psql could not connect.
pub fn outcome(rc: i64, ready: i64, output: &str) -> Look {
    if rc != 0 || !output.contains("@server ") {
        return failed(rc, ready, output);
    }
    let mut look = Look::healthy();
    let mut lines = output.lines();
    let of = |word: &str| -> Map<String, Value> {
        let line = output
            .lines()
            .find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        line.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    };
    let time = lines.by_ref().skip_while(|line| *line != "@ping").skip(1).take(2);
    look.latency_ms = time.filter_map(milliseconds).next();
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            look.custom.insert(name.into(), value);
        }
    };
    let figure = |object: &Map<String, Value>, key: &str| object.get(key).and_then(Value::as_f64);
    let (server, connections, database) = (of("@server"), of("@connections"), of("@database"));
    put("uptime_s", figure(&server, "uptime_s"));
    put("size_bytes", figure(&of("@size"), "bytes"));
    put("connections", figure(&connections, "all"));
    put("connections_active", figure(&connections, "active"));
    put("connections_idle", figure(&connections, "idle"));
    put(
        "connections_idle_in_transaction",
        figure(&connections, "idle_in_transaction"),
    );
    let max = figure(&server, "max").unwrap_or_default() - figure(&server, "reserved").unwrap_or_default();
    let used = figure(&connections, "all")
        .filter(|_| max > 0.0)
        .map(|n| ((n * 1_000.0 / max).round() / 10.0).min(100.0));
    put("connections_max", Some(max).filter(|n| *n > 0.0));
    put("connections_percent", used);
    put("oldest_transaction_s", figure(&connections, "oldest_s"));
    put("locks_waiting", figure(&of("@locks"), "waiting"));
    for key in ["commits", "rollbacks", "deadlocks", "temp_bytes"] {
        put(key, figure(&database, key));
    }
    if let (Some(hit), Some(read)) = (figure(&database, "hit"), figure(&database, "read")) {
        put(
            "cache_hit_percent",
            (hit + read > 0.0).then(|| (hit * 1_000.0 / (hit + read)).round() / 10.0),
        );
    }
    put("dead_rows", figure(&of("@dead"), "all"));
    let (standby, replicas) = (of("@standby"), rows(&of("@replicas")));
    let most = |key: &str| {
        replicas
            .iter()
            .filter_map(|row| figure(row, key))
            .max_by(f64::total_cmp)
    };
    put(
        "replication_lag_bytes",
        figure(&standby, "bytes").or(most("behind_bytes")),
    );
    put("replication_lag_s", figure(&standby, "s").or(most("behind_s")));
    if output.contains("@replicas ") {
        put("replicas", Some(replicas.len() as f64));
        put("slot_kept_bytes", figure(&of("@slots"), "kept_bytes"));
    }
    let mut queries = rows(&of("@statements"));
    for row in &mut queries {
        if let Some(Value::String(query)) = row.get_mut("query") {
            *query = without_values(query);
        }
    }
    look.tables = Tables::from_iter([
        ("slow_queries".to_string(), queries),
        ("dead_rows".to_string(), rows(&of("@tables"))),
        ("replicas".to_string(), replicas),
    ]);
    look.tables.retain(|_, rows| !rows.is_empty());
    let (code, say) = if let Some(used) = used.filter(|used| *used >= FULL) {
        (
            "postgres_full",
            format!("{used} % of its {max} connections are in use."),
        )
    } else if standby.get("linked") == Some(&Value::Bool(false)) {
        (
            "postgres_replica",
            "It is a standby, and has no link to its primary.".into(),
        )
    } else if figure(&database, "age").is_some_and(|age| age > AGE_MAX) {
        (
            "postgres_age",
            "It is long overdue for VACUUM: PostgreSQL will stop to take writes.".into(),
        )
    } else {
        return look;
    };
    (look.health, look.code, look.say) = (Health::Degraded, code.into(), say);
    look
}

/// Why psql could not ask. Its own words are in the server's language, so codes decide where there are any.
fn failed(rc: i64, ready: i64, output: &str) -> Look {
    let said = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('@'));
    let said: Vec<&str> = said.filter(|line| !line.starts_with("Password")).collect();
    let said = one_line(&said.join(" "), 300);
    let has = |words: &str| said.contains(words);
    let bad = |code: &str, what: &str| {
        let say = if said.is_empty() {
            what.into()
        } else {
            format!("{what} It said: {said}")
        };
        Look::of(Health::Unhealthy, code, say)
    };
    match rc {
        BAD_PASSWORD => {
            return bad(
                "postgres_password",
                "Its password has a line break: psql cannot be given it.",
            );
        }
        124 | 137 => return bad("postgres_slow", "It did not answer within 10 s."),
        126 | 127 => {
            return Look::of(
                Health::Unknown,
                "no_psql",
                "psql is not installed on its server (postgresql-client).",
            );
        }
        _ => {}
    }
    if has("sudo:") || has("runuser:") {
        let say = format!("The login user may not run psql as that user: {said}");
        return Look::of(Health::Unknown, "postgres_user", say);
    }
    if ready == 1 || has("the database system is") {
        return Look::of(
            Health::Degraded,
            "postgres_starting",
            format!("It is starting up or shutting down, and takes no connections yet. It said: {said}"),
        );
    }
    if has("too many clients") || has("remaining connection slots") || has("too many connections") {
        return bad("postgres_full", "All its connections are in use.");
    }
    if ready == 2 || has("Connection refused") || has("could not connect") || has("No such file or directory") {
        return bad("refused", "No PostgreSQL answers there.");
    }
    if has("authentication failed") || has("no password supplied") {
        return bad("postgres_password", "It refuses the login.");
    }
    if has("pg_hba.conf") {
        return bad(
            "postgres_password",
            "Its pg_hba.conf does not let this user in from there.",
        );
    }
    if has("does not exist") {
        return bad("postgres_missing", "There is no such database or user.");
    }
    bad("postgres_error", "psql could not ask it.")
}

/// `Time: 0.123 ms`, in any language.
fn milliseconds(line: &str) -> Option<f64> {
    let word = line.split(' ').find(|word| word.contains(['.', ',']))?;
    word.replace(',', ".").parse().ok()
}

fn rows(object: &Map<String, Value>) -> Vec<Row> {
    let rows = object
        .get("rows")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    rows.iter()
        .filter_map(Value::as_object)
        .map(|row| row.clone().into_iter().collect())
        .collect()
}

/// A query without the texts and longer numbers in it, which may be somebody's data.
fn without_values(query: &str) -> String {
    let (mut out, mut chars) = (String::new(), query.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                out.push_str("'?'");
                // To the end of the text; a doubled quote is part of it.
                while let Some(c) = chars.next() {
                    if c == '\'' && chars.next_if_eq(&'\'').is_none() {
                        break;
                    }
                }
            }
            '$' if chars.peek().is_some_and(|c| *c == '$' || c.is_alphabetic()) => {
                out.push_str("$?");
                break; // A text in dollars: nothing after it is shown.
            }
            '-' if chars.peek() == Some(&'-') => break,
            '/' if chars.peek() == Some(&'*') => break,
            c if c.is_ascii_digit() && !out.ends_with(|c: char| c.is_alphanumeric() || "_$".contains(c)) => {
                while chars.next_if(|c| c.is_ascii_digit() || *c == '.').is_some() {}
                out.push('?');
            }
            c => out.push(c),
        }
    }
    cut(&out, QUERY_MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: &str = include_str!("../../../../../tests/data/postgres/15.txt");

    #[test]
    fn what_psql_tells_becomes_figures_and_tables() {
        let look = outcome(0, 0, WELL);
        assert_eq!((look.health, look.latency_ms), (Health::Healthy, Some(0.441)));
        for (name, value) in [
            ("connections", 1.0),
            ("connections_max", 17.0),
            ("connections_percent", 5.9),
            ("dead_rows", 299.0),
            ("locks_waiting", 0.0),
            ("replicas", 0.0),
        ] {
            assert_eq!(look.custom.get(name), Some(&value), "{name}");
        }
        assert_eq!(look.tables["dead_rows"][0]["table"], "public.t");
        let queries = &look.tables["slow_queries"];
        assert!(
            queries.iter().any(|row| row["query"] == "delete from t where a<$1"),
            "{queries:?}"
        );
        assert!(!look.tables.contains_key("replicas"));

        let full = WELL.replace(r#"{"all": 1,"#, r#"{"all": 16,"#);
        let look = outcome(0, 0, &full);
        assert_eq!(
            (look.health, &*look.say),
            (Health::Degraded, "94.1 % of its 17 connections are in use.")
        );
        let standby = WELL.replace("@replicas", "@x") + "@standby {\"linked\": false, \"bytes\": 4096, \"s\": 12}\n";
        let look = outcome(0, 0, &standby);
        assert_eq!(
            (&*look.code, look.custom["replication_lag_s"]),
            ("postgres_replica", 12.0)
        );
        assert_eq!(
            outcome(0, 0, &WELL.replace("\"age\": ", "\"age\": 1900000000")).code,
            "postgres_age"
        );
    }

    #[test]
    fn why_psql_could_not_ask_is_said_in_plain_words() {
        for (rc, ready, said, health, code) in [
            (
                2,
                0,
                "FATAL:  password authentication failed for user \"mon\"",
                Health::Unhealthy,
                "postgres_password",
            ),
            (
                2,
                0,
                "fe_sendauth: no password supplied",
                Health::Unhealthy,
                "postgres_password",
            ),
            (
                2,
                0,
                "FATAL:  sorry, too many clients already",
                Health::Unhealthy,
                "postgres_full",
            ),
            (
                2,
                0,
                "FATAL:  remaining connection slots are reserved for",
                Health::Unhealthy,
                "postgres_full",
            ),
            (
                2,
                1,
                "ВАЖНО:  система баз данных запускается",
                Health::Degraded,
                "postgres_starting",
            ),
            (2, 2, "Connection refused", Health::Unhealthy, "refused"),
            (
                2,
                0,
                "FATAL:  database \"nosuch\" does not exist",
                Health::Unhealthy,
                "postgres_missing",
            ),
            (127, 0, "", Health::Unknown, "no_psql"),
            (1, 0, "sudo: a password is required", Health::Unknown, "postgres_user"),
            (124, 0, "", Health::Unhealthy, "postgres_slow"),
            (0, 0, "@ping\n@end", Health::Unhealthy, "postgres_error"),
        ] {
            let look = outcome(rc, ready, &format!("Password: \n{said}\n"));
            assert_eq!((look.health, &*look.code), (health, code), "{said}");
            assert!(
                look.say.ends_with(&one_line(said, 300)) || said.starts_with('@') || said.is_empty(),
                "{}",
                look.say
            );
        }
    }

    #[test]
    fn values_in_queries_are_not_shown() {
        for (query, shown) in [
            (
                "select * from t1 where a = 'it''s' and b=12.5",
                "select * from t1 where a = '?' and b=?",
            ),
            ("select $1, x2 from t", "select $1, x2 from t"),
            ("select $a$secret$a$", "select $?"),
            ("select 1 -- password", "select ? "),
        ] {
            assert_eq!(without_values(query), shown);
        }
    }

    #[test]
    fn names_cannot_add_to_where_psql_connects() {
        for (value, good) in [
            ("shop", true),
            ("магазин-2", true),
            ("a' host='evil", false),
            ("host=evil", false),
        ] {
            let mut i = Input::of(
                super::super::super::model::PARAMS,
                Map::from_iter([("database".into(), value.into())]),
            );
            let mut config = Config::new();
            read(&mut i, &mut config);
            assert_eq!(config.contains_key("database"), good, "{value}");
        }
        let config = Config::from_iter([("database".into(), "shop".into()), ("port".into(), 5433.into())]);
        assert_eq!(conninfo(&config), "dbname='shop' port='5433' connect_timeout='5'");
    }
}
