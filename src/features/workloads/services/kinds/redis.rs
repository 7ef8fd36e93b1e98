//! A Redis server (or Valkey): whether it answers, and what `INFO` tells. Only PING and INFO are sent, after AUTH.

use super::{Ask, Check, Config, Health, Kind, Look, Place, home_of_peer, keep, read_peer};
use crate::base::clock;
use crate::base::error::{Error, Kind as Fault, Result};
use crate::base::text::one_line;
use crate::form::Input;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "redis",
    place: Place::Anywhere,
    acts: false,
    has_password: true,
    fields: &["host", "port", "tls", "username"],
    required: 1,
    read,
    home: home_of_peer,
    check: Check::Ask(ask),
    tables: &[],
};

/// Where nobody says which port.
const PORT: i64 = 6379;
/// Longest answer to INFO.
const INFO_MAX: usize = 256 << 10;
/// Longest line of an answer.
const LINE_MAX: u64 = 4 << 10;

fn read(i: &mut Input, config: &mut Config) {
    read_peer(i, config);
    config.entry("port").or_insert_with(|| PORT.into());
    let username = i.text("username");
    keep(config, "username", username);
}

fn ask(ask: &Ask) -> Result<Look> {
    ask.connect(|wire| {
        let mut redis = Redis(BufReader::new(wire));
        if let Some(password) = ask.password {
            let password = password.reveal_for("AUTH to Redis");
            let user = ask.text("username").as_bytes();
            let words: Vec<&[u8]> = match user.is_empty() {
                true => vec![b"AUTH", password],
                false => vec![b"AUTH", user, password],
            };
            match redis.say(&words)? {
                Reply::Error(say) if say.starts_with("ERR") && say.contains("no password") => {}
                Reply::Error(say) => return Ok(refused(&say)),
                Reply::Text(_) => {}
            }
        }
        let begun = clock::mono();
        if let Reply::Error(say) = redis.say(&[b"PING"])? {
            return Ok(refused(&say));
        }
        let latency = begun.elapsed();
        let mut look = match redis.say(&[b"INFO"])? {
            Reply::Text(info) => judge(&info),
            Reply::Error(say) => Look::of(Health::Degraded, "redis_info", format!("It refuses INFO: {say}")),
        };
        look.latency_ms = Some((latency.as_secs_f64() * 100_000.0).round() / 100.0);
        Ok(look)
    })
}

/// What a refusal means.
fn refused(say: &str) -> Look {
    let (code, what) = match say.split(' ').next().unwrap_or_default() {
        "NOAUTH" => ("redis_password", "It wants a password, and none is stored."),
        "WRONGPASS" => ("redis_password", "It refuses the password that is stored."),
        "NOPERM" => ("redis_right", "Its user may not do this."),
        "LOADING" => return Look::of(Health::Degraded, "redis_loading", "It is loading its data."),
        _ => ("redis_error", "It refuses."),
    };
    Look::of(
        Health::Unhealthy,
        code,
        format!("{what} It said: {}", one_line(say, 200)),
    )
}

/// What INFO tells.
fn judge(info: &str) -> Look {
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

enum Reply {
    Text(String),
    Error(String),
}

struct Redis<S>(BufReader<S>);

impl<S: Read + Write> Redis<S> {
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
        sent.map_err(|e| odd().log(e))?;
        let mut line = Vec::new();
        let read = (&mut self.0)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|e| odd().log(e))?;
        let text = String::from_utf8_lossy(&line).trim_end().to_string();
        match text.as_bytes().first() {
            _ if read == 0 => Err(Error::new(
                Fault::Upstream,
                "empty",
                "It closed the connection without an answer.",
            )),
            Some(b'+') => Ok(Reply::Text(text[1..].into())),
            Some(b'-') => Ok(Reply::Error(text[1..].into())),
            Some(b'$') => {
                let length = text[1..].parse::<usize>().ok().filter(|n| *n <= INFO_MAX);
                let mut body = vec![0; length.ok_or_else(odd)? + 2];
                self.0.read_exact(&mut body).map_err(|e| odd().log(e))?;
                body.truncate(body.len() - 2);
                Ok(Reply::Text(String::from_utf8_lossy(&body).into_owned()))
            }
            _ => Err(odd()),
        }
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
        assert!(matches!(said("$5\r\na:1\r\n\r\n").unwrap(), Reply::Text(text) if text == "a:1\r\n"));
        for bad in [
            "",
            "HTTP/1.1 400\r\n",
            "$99999999999\r\n",
            "$-1\r\n",
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
        let look = judge(info);
        assert_eq!(
            (look.health, look.custom["hit_percent"], look.custom["keys"]),
            (Health::Healthy, 75.0, 7.0)
        );
        assert!(!look.custom.contains_key("memory_max_bytes"));
        assert_eq!(judge("loading:1\r\n").code, "redis_loading");
        assert_eq!(judge("role:slave\r\nmaster_link_status:down\r\n").code, "redis_replica");
        assert_eq!(judge("rdb_last_bgsave_status:err\r\n").code, "redis_save");
        assert_eq!(refused("LOADING Redis is loading").health, Health::Degraded);
        assert_eq!(refused("WRONGPASS x").code, "redis_password");
    }
}
