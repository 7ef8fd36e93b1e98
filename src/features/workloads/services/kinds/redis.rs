//! A Redis server (or Valkey): whether it answers, what `INFO` tells, its slow commands and how its keys begin. Nothing of
//! what it holds is read, and of keys only what stands before their first colon. Keys are removed only below a prefix that
//! somebody has set, when a person asks.

use super::{Ask, Check, Column, Config, Health, Kind, Look, Place, Row, Table, home_of_peer, keep, read_peer};
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Kind as Fault, Result};
use crate::base::process::Cancel;
use crate::base::text::one_line;
use crate::form::Input;
use crate::net::dial::Wire;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read, Write};

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "redis",
    place: Place::Anywhere,
    acts: false,
    has_password: true,
    fields: &["host", "port", "tls", "username", "clear_prefix"],
    required: 1,
    read,
    home: home_of_peer,
    check: Check::Ask(ask),
    keeps_token: false,
    tables: &[
        Table {
            name: "key_patterns",
            columns: &[
                Column::of("prefix", "code"),
                Column::of("keys", "number"),
                Column::of("share_percent", "percent"),
            ],
        },
        Table {
            name: "slow_log",
            columns: &[
                Column::of("command", "code"),
                Column::of("took_ms", "ms"),
                Column::of("at", "time"),
            ],
        },
        Table {
            name: "replicas",
            columns: &[
                Column::of("address", "code"),
                Column::of("state", "text"),
                Column::of("behind_bytes", "bytes"),
                Column::of("behind_s", "seconds"),
            ],
        },
    ],
};

/// Where nobody says which port.
const PORT: i64 = 6379;
/// Longest answer, and most values in it.
const ANSWER_MAX: (usize, usize) = (1 << 20, 20_000);
/// Longest line of an answer.
const LINE_MAX: u64 = 4 << 10;
/// An answer to PING that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Keys that a look takes in, and how many of their beginnings it tells.
const KEYS_MAX: (usize, usize) = (5_000, 20);
/// Time for that.
const KEYS_WITHIN: Duration = Duration::from_millis(500);
/// Keys that one SCAN looks at.
const STEP: &[u8] = b"1000";
/// Most keys that are counted one by one.
const COUNT_MAX: usize = 1_000_000;
/// So long before the end of all waiting a count stops.
const COUNT_SPARE: Duration = Duration::from_secs(2);

fn read(i: &mut Input, config: &mut Config) {
    read_peer(i, config);
    config.entry("port").or_insert_with(|| PORT.into());
    for name in ["username", "clear_prefix"] {
        let value = i.text(name);
        keep(config, name, value);
    }
}

fn ask(ask: &Ask) -> Result<Look> {
    ask.connect(|wire| {
        let mut redis = Redis::new(wire);
        if let Some(say) = redis.login(ask)? {
            return Ok(refused(&say));
        }
        let begun = clock::mono();
        if let Reply::Error(say) = redis.say(&[b"PING"])? {
            return Ok(refused(&say));
        }
        let latency = begun.elapsed();
        let mut look = match redis.say(&[b"INFO"])? {
            Reply::Bytes(info) => judge(&String::from_utf8_lossy(&info), clock::now() / 1_000),
            Reply::Error(say) => Look::of(Health::Degraded, "redis_info", format!("It refuses INFO: {say}")),
            _ => return Err(odd()),
        };
        // Who may not ask for these is told the rest.
        if let Reply::List(entries) = redis.say(&[b"SLOWLOG", b"GET", b"10"])? {
            let rows: Vec<Row> = entries.iter().filter_map(slow).collect();
            look.tables.insert("slow_log".into(), rows);
        }
        if let Some(rows) = redis.patterns()? {
            look.tables.insert("key_patterns".into(), rows);
        }
        look.tables.retain(|_, rows| !rows.is_empty());
        look.latency_ms = Some((latency.as_secs_f64() * 100_000.0).round() / 100.0);
        if latency > SLOW && look.health == Health::Healthy {
            let say = format!("It answered PING only after {:.1} s.", latency.as_secs_f64());
            (look.health, look.code, look.say) = (Health::Degraded, "redis_slow".into(), say);
        }
        Ok(look)
    })
}

/// How many keys begin with a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// So many.
    pub keys: usize,
    /// Were all looked at? There may be more otherwise.
    pub is_all: bool,
}

/// Counts the keys of database 0 that begin with this.
pub fn count(ask: &Ask, prefix: &str) -> Result<Counted> {
    below(ask, prefix, |redis, pattern| {
        let (mut cursor, mut seen) = (b"0".to_vec(), HashSet::new());
        loop {
            let (next, keys) = redis.scan(&cursor, Some(pattern))?;
            // SCAN may tell a key twice.
            let new = keys.iter().filter(|key| key.starts_with(prefix.as_bytes()));
            seen.extend(new.map(|key| {
                let mut hasher = DefaultHasher::new();
                key.hash(&mut hasher);
                hasher.finish()
            }));
            let is_all = next == b"0";
            if is_all || seen.len() >= COUNT_MAX || clock::mono() + COUNT_SPARE > ask.until {
                let keys = seen.len();
                return Ok(Counted { keys, is_all });
            }
            cursor = next;
        }
    })
}

/// Removes the keys of database 0 that begin with this, a batch at a time; `said` is told how many are gone so far.
pub fn clear(ask: &Ask, prefix: &str, cancel: &Cancel, said: &mut dyn FnMut(u64)) -> Result<u64> {
    below(ask, prefix, |redis, pattern| {
        let (mut cursor, mut gone) = (b"0".to_vec(), 0);
        loop {
            if cancel.is_cancelled() {
                let say = format!("It was ended after {gone} keys.");
                return Err(Error::new(Fault::Busy, "cancelled", say));
            }
            let (next, keys) = redis.scan(&cursor, Some(pattern))?;
            let mut words: Vec<&[u8]> = vec![b"UNLINK"];
            words.extend(
                keys.iter()
                    .map(Vec::as_slice)
                    .filter(|key| key.starts_with(prefix.as_bytes())),
            );
            if words.len() > 1 {
                match redis.say(&words)? {
                    Reply::Number(n) => gone += n.unsigned_abs(),
                    Reply::Error(say) => return Err(refusal(&say)),
                    _ => return Err(odd()),
                }
                said(gone);
            }
            if next == b"0" {
                return Ok(gone);
            }
            cursor = next;
        }
    })
}

/// Does something with the pattern of all keys below a prefix.
fn below<T>(ask: &Ask, prefix: &str, work: impl FnOnce(&mut Redis<Wire>, &[u8]) -> Result<T>) -> Result<T> {
    if prefix.is_empty() {
        return Err(Error::internal("keys without a prefix"));
    }
    ask.connect(|wire| {
        let mut redis = Redis::new(wire);
        match redis.login(ask)? {
            Some(say) => Err(refusal(&say)),
            None => work(&mut redis, pattern(prefix).as_bytes()),
        }
    })
}

/// The pattern of what begins with this, whatever is in it.
fn pattern(prefix: &str) -> String {
    let mut out = String::new();
    for c in prefix.chars() {
        if "*?[]^-\\".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out + "*"
}

/// What stands before a key's first colon, if that is a word; of another one nothing is told.
fn beginning(key: &[u8]) -> Option<String> {
    let end = key.iter().position(|byte| *byte == b':')?;
    let word = std::str::from_utf8(&key[..end]).ok()?;
    let good = (1..=40).contains(&word.len()) && word.chars().all(|c| c.is_alphanumeric() || "_-.{}".contains(c));
    good.then(|| format!("{word}:"))
}

/// Commands whose first argument is a key.
const OF_KEYS: &[&str] = &[
    "APPEND",
    "DECR",
    "DECRBY",
    "DEL",
    "DUMP",
    "EXISTS",
    "EXPIRE",
    "GET",
    "GETDEL",
    "GETEX",
    "GETRANGE",
    "GETSET",
    "HDEL",
    "HEXISTS",
    "HGET",
    "HGETALL",
    "HINCRBY",
    "HKEYS",
    "HLEN",
    "HMGET",
    "HMSET",
    "HSCAN",
    "HSET",
    "HVALS",
    "INCR",
    "INCRBY",
    "LINDEX",
    "LLEN",
    "LPOP",
    "LPUSH",
    "LRANGE",
    "LREM",
    "LTRIM",
    "MGET",
    "MSET",
    "PERSIST",
    "PEXPIRE",
    "PFADD",
    "PFCOUNT",
    "PSETEX",
    "RENAME",
    "RPOP",
    "RPUSH",
    "SADD",
    "SCARD",
    "SDIFF",
    "SET",
    "SETEX",
    "SETNX",
    "SINTER",
    "SISMEMBER",
    "SMEMBERS",
    "SORT",
    "SPOP",
    "SREM",
    "SSCAN",
    "STRLEN",
    "SUNION",
    "TTL",
    "TYPE",
    "UNLINK",
    "XADD",
    "XLEN",
    "XRANGE",
    "XREAD",
    "ZADD",
    "ZCARD",
    "ZCOUNT",
    "ZRANGE",
    "ZRANGEBYSCORE",
    "ZRANK",
    "ZREM",
    "ZREVRANGE",
    "ZSCAN",
    "ZSCORE",
];

/// A row of the slow log: number, time, µs, words. Of the words only the command, and how its key begins.
fn slow(entry: &Reply) -> Option<Row> {
    let Reply::List(parts) = entry else { return None };
    let (Some(Reply::Number(at)), Some(Reply::Number(us)), Some(Reply::List(words))) =
        (parts.get(1), parts.get(2), parts.get(3))
    else {
        return None;
    };
    let word = |n: usize| match words.get(n) {
        Some(Reply::Bytes(bytes)) => Some(bytes.as_slice()),
        _ => None,
    };
    let name = String::from_utf8_lossy(word(0)?).to_uppercase();
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).take(30).collect();
    let key = word(1).filter(|_| OF_KEYS.contains(&name.as_str())).and_then(beginning);
    let more = if words.len() > 1 { " …" } else { "" };
    let command = match key {
        Some(key) => format!("{name} {key}…"),
        None => format!("{name}{more}"),
    };
    let row = json!({ "command": command, "took_ms": *us as f64 / 1_000.0, "at": at * 1_000 });
    row.as_object().cloned()
}

/// What a refusal means.
fn refused(say: &str) -> Look {
    let (code, what) = match say.split(' ').next().unwrap_or_default() {
        "NOAUTH" => ("redis_password", "It wants a password, and none is stored."),
        "WRONGPASS" => ("redis_password", "It refuses the password that is stored."),
        "NOPERM" => ("redis_right", "Its user may not do this."),
        "READONLY" => ("redis_right", "It is a replica, which takes no changes."),
        "CROSSSLOT" | "MOVED" => (
            "redis_right",
            "It is part of a cluster: only its own part can be asked.",
        ),
        "LOADING" => return Look::of(Health::Degraded, "redis_loading", "It is loading its data."),
        _ => ("redis_error", "It refuses."),
    };
    Look::of(
        Health::Unhealthy,
        code,
        format!("{what} It said: {}", one_line(say, 200)),
    )
}

fn refusal(say: &str) -> Error {
    Error::new(Fault::Upstream, "redis_refused", refused(say).say)
}

/// What INFO tells; `now` is the time here, s.
fn judge(info: &str, now: i64) -> Look {
    let pairs: HashMap<&str, &str> = info
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .collect();
    let number = |key: &str| pairs.get(key).and_then(|text| text.parse::<f64>().ok());
    let mut look = Look::healthy();
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            look.custom.insert(name.into(), value);
        }
    };
    put("memory_bytes", number("used_memory"));
    put("memory_max_bytes", number("maxmemory").filter(|n| *n > 0.0));
    put("clients", number("connected_clients"));
    put("blocked_clients", number("blocked_clients"));
    put("replicas", number("connected_slaves"));
    put("evicted_keys", number("evicted_keys"));
    put("commands_per_second", number("instantaneous_ops_per_sec"));
    put("uptime_s", number("uptime_in_seconds"));
    put("unsaved_changes", number("rdb_changes_since_last_save"));
    let its_now = number("server_time_usec").map_or(now as f64, |us| us / 1e6);
    let age = number("rdb_last_save_time").map(|at| (its_now - at).max(0.0).round());
    put("saved_s_ago", age);
    let keys = pairs.iter().filter(|(key, _)| key.starts_with("db"));
    let of_base = |value: &&str| value.strip_prefix("keys=")?.split(',').next()?.parse::<f64>().ok();
    put("keys", Some(keys.filter_map(|(_, value)| of_base(value)).sum()));
    if let (Some(hits), Some(misses)) = (number("keyspace_hits"), number("keyspace_misses")) {
        put(
            "hit_percent",
            (hits + misses > 0.0).then(|| (hits * 1_000.0 / (hits + misses)).round() / 10.0),
        );
    }
    let is = |key: &str, value: &str| pairs.get(key) == Some(&value);
    let replicas = replicas(&pairs, number("master_repl_offset").unwrap_or_default());
    let most = |key: &str| {
        replicas
            .iter()
            .filter_map(|row| row.get(key)?.as_f64())
            .max_by(f64::total_cmp)
    };
    put("replication_lag_bytes", most("behind_bytes"));
    // A replica hears from its master at least every 10 s.
    let heard = number("master_last_io_seconds_ago").filter(|s| is("role", "slave") && *s >= 0.0);
    put("replication_lag_s", most("behind_s").or(heard));
    look.tables.insert("replicas".into(), replicas);
    let (code, say) = if is("loading", "1") {
        ("redis_loading", "It is loading its data.")
    } else if is("role", "slave") && is("master_link_status", "down") {
        ("redis_replica", "It is a replica, and its link to the master is down.")
    } else if is("rdb_last_bgsave_status", "err") {
        ("redis_save", "Its last save to disk failed.")
    } else if is("aof_last_write_status", "err") {
        ("redis_save", "It cannot write to its append-only file.")
    } else {
        return look;
    };
    (look.health, look.code, look.say) = (Health::Degraded, code.into(), say.into());
    look
}

/// `slave0:ip=10.0.0.2,port=6379,state=online,offset=99,lag=1`.
fn replicas(pairs: &HashMap<&str, &str>, offset: f64) -> Vec<Row> {
    let mut rows = Vec::new();
    for n in 0..20 {
        let Some(line) = pairs.get(format!("slave{n}").as_str()) else {
            break;
        };
        let of: HashMap<&str, &str> = line.split(',').filter_map(|pair| pair.split_once('=')).collect();
        let text = |key: &str| one_line(of.get(key).unwrap_or(&""), 60);
        let number = |key: &str| of.get(key).and_then(|text| text.parse::<f64>().ok());
        let row = json!({
            "address": format!("{}:{}", text("ip"), text("port")), "state": text("state"),
            "behind_bytes": number("offset").map(|at| (offset - at).max(0.0)), "behind_s": number("lag"),
        });
        rows.extend(row.as_object().cloned());
    }
    rows
}

#[derive(Debug, PartialEq)]
enum Reply {
    Text(String),
    Error(String),
    Bytes(Vec<u8>),
    Number(i64),
    List(Vec<Reply>),
    Nothing,
}

struct Redis<S>(BufReader<S>);

impl<S: Read + Write> Redis<S> {
    fn new(wire: S) -> Redis<S> {
        Redis(BufReader::new(wire))
    }

    /// Signs in, where there is a password; its refusal.
    fn login(&mut self, ask: &Ask) -> Result<Option<String>> {
        let Some(password) = ask.password else { return Ok(None) };
        let password = password.reveal_for("AUTH to Redis");
        let user = ask.text("username").as_bytes();
        let words: Vec<&[u8]> = match user.is_empty() {
            true => vec![b"AUTH", password],
            false => vec![b"AUTH", user, password],
        };
        Ok(match self.say(&words)? {
            Reply::Error(say) if say.starts_with("ERR") && say.contains("no password") => None,
            Reply::Error(say) => Some(say),
            _ => None,
        })
    }

    /// One step over all keys of its database: where to go on, and some keys.
    fn scan(&mut self, cursor: &[u8], pattern: Option<&[u8]>) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
        let mut words: Vec<&[u8]> = vec![b"SCAN", cursor, b"COUNT", STEP];
        words.extend(
            pattern
                .map(|pattern| [b"MATCH".as_slice(), pattern])
                .into_iter()
                .flatten(),
        );
        let parts = match self.say(&words)? {
            Reply::List(parts) => parts,
            Reply::Error(say) => return Err(refusal(&say)),
            _ => return Err(odd()),
        };
        let [Reply::Bytes(next), Reply::List(keys)]: [Reply; 2] = parts.try_into().map_err(|_| odd())? else {
            return Err(odd());
        };
        let key = |reply| match reply {
            Reply::Bytes(key) => Some(key),
            _ => None,
        };
        Ok((next, keys.into_iter().filter_map(key).collect()))
    }

    /// How keys begin, of so many as a look takes in; nothing: its user may not ask.
    fn patterns(&mut self) -> Result<Option<Vec<Row>>> {
        let (mut cursor, mut counts, mut looked) = (b"0".to_vec(), HashMap::<String, usize>::new(), 0);
        let begun = clock::mono();
        let is_capped = loop {
            let (next, keys) = match self.scan(&cursor, None) {
                Ok(step) => step,
                Err(e) if e.code == "redis_refused" => return Ok(None),
                Err(e) => return Err(e),
            };
            for key in &keys {
                *counts.entry(beginning(key).unwrap_or_default()).or_default() += 1;
            }
            looked += keys.len();
            if next == b"0" {
                break false;
            }
            if looked >= KEYS_MAX.0 || begun.elapsed() > KEYS_WITHIN {
                break true;
            }
            cursor = next;
        };
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let row = |(prefix, keys): (String, usize)| {
            let share = (keys as f64 * 1_000.0 / looked as f64).round() / 10.0;
            let row = json!({ "prefix": prefix, "keys": keys, "share_percent": share, "looked_at": looked, "capped": is_capped });
            row.as_object().cloned()
        };
        Ok(Some(counts.into_iter().take(KEYS_MAX.1).filter_map(row).collect()))
    }

    /// One command and its reply (RESP2).
    fn say(&mut self, words: &[&[u8]]) -> Result<Reply> {
        let mut out = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
        let sent = self.0.get_mut().write_all(&out).and_then(|()| self.0.get_mut().flush());
        out.fill(0);
        sent.map_err(broken)?;
        self.reply(&mut { ANSWER_MAX }, 0)
    }

    /// One value, of what is left to be read: bytes, values.
    fn reply(&mut self, left: &mut (usize, usize), depth: usize) -> Result<Reply> {
        left.1 = left.1.checked_sub(1).filter(|_| depth <= 4).ok_or_else(odd)?;
        let mut line = Vec::new();
        let read = (&mut self.0)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .map_err(broken)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_string();
        let number = || text.get(1..).and_then(|text| text.parse::<i64>().ok()).ok_or_else(odd);
        match text.as_bytes().first() {
            _ if read == 0 => Err(Error::new(
                Fault::Upstream,
                "empty",
                "It closed the connection without an answer.",
            )),
            Some(b'+') => Ok(Reply::Text(text[1..].into())),
            Some(b'-') => Ok(Reply::Error(text[1..].into())),
            Some(b':') => number().map(Reply::Number),
            Some(b'$' | b'*') if number()? == -1 => Ok(Reply::Nothing),
            Some(b'$') => {
                let length = usize::try_from(number()?).map_err(|_| odd())?;
                left.0 = left.0.checked_sub(length).ok_or_else(odd)?;
                let mut body = vec![0; length + 2];
                self.0.read_exact(&mut body).map_err(broken)?;
                body.truncate(length);
                Ok(Reply::Bytes(body))
            }
            Some(b'*') => {
                let count = usize::try_from(number()?)
                    .ok()
                    .filter(|n| *n <= left.1)
                    .ok_or_else(odd)?;
                (0..count)
                    .map(|_| self.reply(left, depth + 1))
                    .collect::<Result<_>>()
                    .map(Reply::List)
            }
            _ => Err(odd()),
        }
    }
}

fn broken(e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::new(
            Fault::Timeout,
            "redis_slow",
            "It took the connection, and did not answer in time.",
        )
        .log(e),
        _ => odd().log(e),
    }
}

fn odd() -> Error {
    Error::new(
        Fault::Upstream,
        "not_redis",
        "What answers there is no Redis, or it broke off.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// Gives these bytes, and swallows what is written.
    struct Peer(Cursor<Vec<u8>>);
    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn said(bytes: &str) -> Result<Reply> {
        Redis(BufReader::new(Peer(Cursor::new(bytes.as_bytes().to_vec())))).say(&[b"PING"])
    }

    #[test]
    fn replies_are_read_and_bounded() {
        assert!(matches!(said("+PONG\r\n").unwrap(), Reply::Text(text) if text == "PONG"));
        assert!(matches!(said("-NOAUTH no\r\n").unwrap(), Reply::Error(text) if text == "NOAUTH no"));
        assert_eq!(said("$5\r\na:1\r\n\r\n").unwrap(), Reply::Bytes(b"a:1\r\n".to_vec()));
        let list = Reply::List(vec![Reply::Number(-3), Reply::Nothing, Reply::List(Vec::new())]);
        assert_eq!(said("*3\r\n:-3\r\n$-1\r\n*0\r\n").unwrap(), list);
        for bad in [
            "",
            "HTTP/1.1 400\r\n",
            "$99999999999\r\n",
            "$-2\r\n",
            "*99999999\r\n",
            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
            "$10\r\nabc",
            &"+x".repeat(9_000),
        ] {
            let is_long = bad.len() > 9_000;
            assert!(said(bad).is_err() || is_long, "{bad}");
        }
    }

    #[test]
    fn what_info_tells_becomes_figures_and_faults() {
        let info = "# Server\r\nused_memory:1024\r\nmaxmemory:0\r\nkeyspace_hits:3\r\nkeyspace_misses:1\r\nrole:master\r\n\
                    db0:keys=5,expires=1\r\ndb1:keys=2,expires=0\r\n";
        let look = judge(info, 0);
        assert_eq!(
            (look.health, look.custom["hit_percent"], look.custom["keys"]),
            (Health::Healthy, 75.0, 7.0)
        );
        assert!(!look.custom.contains_key("memory_max_bytes"));
        assert_eq!(judge("loading:1\r\n", 0).code, "redis_loading");
        assert_eq!(
            judge("role:slave\r\nmaster_link_status:down\r\n", 0).code,
            "redis_replica"
        );
        assert_eq!(judge("rdb_last_bgsave_status:err\r\n", 0).code, "redis_save");
        assert_eq!(refused("LOADING Redis is loading").health, Health::Degraded);
        assert_eq!(refused("WRONGPASS x").code, "redis_password");
    }

    #[test]
    fn what_a_real_server_says_is_understood() {
        let info = include_str!("../../../../../tests/data/redis/info.resp");
        let Reply::Bytes(info) = said(info).unwrap() else {
            panic!()
        };
        let look = judge(&String::from_utf8_lossy(&info), 0);
        assert_eq!((look.custom["keys"], look.custom["saved_s_ago"]), (42.0, 4.0));
        let Reply::List(parts) = said(include_str!("../../../../../tests/data/redis/scan.resp")).unwrap() else {
            panic!()
        };
        assert!(
            matches!(&parts[..], [Reply::Bytes(_), Reply::List(keys)] if !keys.is_empty()),
            "{parts:?}"
        );
    }

    #[test]
    fn replicas_and_how_far_they_are_behind() {
        let info = "role:master\r\nconnected_slaves:1\r\nmaster_repl_offset:150\r\n\
                    slave0:ip=10.0.0.2,port=6379,state=online,offset=100,lag=1\r\n";
        let look = judge(info, 0);
        assert_eq!(
            (look.custom["replication_lag_bytes"], look.custom["replication_lag_s"]),
            (50.0, 1.0)
        );
        assert_eq!(look.tables["replicas"][0]["address"], "10.0.0.2:6379");
        let info = "role:slave\r\nmaster_link_status:up\r\nmaster_last_io_seconds_ago:3\r\n";
        assert_eq!(judge(info, 0).custom["replication_lag_s"], 3.0);
    }

    #[test]
    fn a_prefix_means_itself_and_of_keys_only_their_beginning_is_told() {
        assert_eq!(pattern("cache:"), "cache:*");
        assert_eq!(pattern(r"a*[b]?\"), r"a\*\[b\]\?\\*");
        assert_eq!(beginning(b"session:4711:secret").as_deref(), Some("session:"));
        for key in [&b"no-colon"[..], b":x", b"my password is x: y", b"\xff:a"] {
            assert_eq!(beginning(key), None);
        }
        let entry = |words: &[&str]| {
            let words = words
                .iter()
                .map(|word| Reply::Bytes(word.as_bytes().to_vec()))
                .collect();
            let entry = Reply::List(vec![
                Reply::Number(7),
                Reply::Number(1_700),
                Reply::Number(12_500),
                Reply::List(words),
            ]);
            slow(&entry).unwrap()
        };
        let row = entry(&["get", "user:4711"]);
        assert_eq!((&row["command"], &row["took_ms"]), (&json!("GET user:…"), &json!(12.5)));
        for (words, shown) in [
            (&["AUTH", "user:secret"][..], "AUTH …"),
            (&["EVAL", "return:1", "0"], "EVAL …"),
            (&["SET", "secret", "secret"], "SET …"),
            (&["FLUSHALL"], "FLUSHALL"),
        ] {
            assert_eq!(entry(words)["command"], shown);
        }
    }
}
