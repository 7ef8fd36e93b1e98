//! What calls us: a cron job or a backup that asks for an address when it has ended. It is late when it has not called for
//! its period and the grace after that.

use super::{Check, Config, Health, Kind, Look, Place, number};
use crate::base::clock::SECOND;
use crate::form::Input;

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "heartbeat",
    place: Place::Nowhere,
    acts: false,
    has_password: false,
    fields: &["period_s", "grace_s"],
    required: 1,
    read: |i: &mut Input, config: &mut Config| {
        for name in ["period_s", "grace_s"] {
            match i.maybe_number(name) {
                Some(Some(seconds)) => drop(config.insert(name.into(), seconds.into())),
                Some(None) => drop(config.remove(name)),
                None => {}
            }
        }
    },
    home: |_| String::new(),
    check: Check::Called,
    keeps_token: false,
    tables: &[],
};

/// Grace where nobody says how long, s.
const GRACE_S: i64 = 300;

/// See [`super::of_calls`].
pub fn read(config: &Config, ago: Option<i64>, exit_code: Option<i64>) -> Look {
    let period = number(config, "period_s").unwrap_or_default();
    let grace = number(config, "grace_s").unwrap_or(GRACE_S);
    match (ago, exit_code) {
        (None, _) => Look::of(Health::Unknown, "never_called", "It has not called yet."),
        (Some(ago), _) if ago > (period + grace) * SECOND => {
            let say = format!(
                "It has not called for {} s; every {period} s is expected.",
                ago / SECOND
            );
            Look::of(Health::Unhealthy, "late", say)
        }
        (_, Some(code)) if code != 0 => {
            let say = format!("Its last call says that it ended with code {code}.");
            Look::of(Health::Unhealthy, "exit_code", say)
        }
        (Some(ago), _) if ago > period * SECOND => Look::of(
            Health::Degraded,
            "due",
            format!("It should have called {} s ago.", ago / SECOND - period),
        ),
        _ => Look::healthy(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_then_late_and_a_bad_end_counts_at_once() {
        let config: Config = serde_json::from_str(r#"{"period_s": 60, "grace_s": 30}"#).unwrap();
        let of = |ago_s: Option<i64>, exit| read(&config, ago_s.map(|s| s * SECOND), exit).code;
        assert_eq!(of(None, None), "never_called");
        assert_eq!(
            (of(Some(60), None), of(Some(61), None), of(Some(91), None)),
            ("".into(), "due".into(), "late".into())
        );
        assert_eq!(
            (of(Some(1), Some(0)), of(Some(1), Some(2))),
            ("".into(), "exit_code".into())
        );
    }
}
