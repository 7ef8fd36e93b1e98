//! What an endpoint can subscribe to. Alerts come with their recovery; news are single events that ask for nothing.

use serde_json::{Value, json};

/// Something that a message may tell of.
pub struct Kind {
    /// The event's name.
    pub name: &'static str,
    /// Raised and resolved by `alerts`, or told once.
    pub is_alert: bool,
    /// Where several alerts of the kind may be open about one target: what each is about. Empty: there is only one.
    pub part: &'static str,
}

const fn alert(name: &'static str) -> Kind {
    alert_for_each(name, "")
}

const fn alert_for_each(name: &'static str, part: &'static str) -> Kind {
    Kind {
        name,
        is_alert: true,
        part,
    }
}

const fn news(name: &'static str) -> Kind {
    Kind {
        name,
        is_alert: false,
        part: "",
    }
}

/// All of them, in the order of the form. A test of the alerts holds their rules against this.
pub const KINDS: &[Kind] = &[
    alert("server.unreachable"),
    alert("controller.offline"),
    alert("controller.disk_full"),
    alert("resolver.silent"),
    alert("host.key_changed"),
    alert("auth.refresh_reused"),
    alert("audit.broken"),
    alert_for_each("server.deploy_failed", "work"),
    alert("deploy.failed"),
    alert("domain.dark"),
    alert("domain.drifted"),
    alert("domain.left_behind"),
    alert("ns.mismatch"),
    alert("ns.resolve_failed"),
    alert("certificate.soon"),
    alert("certificate.urgent"),
    alert("certificate.bad"),
    alert("certificate.failed"),
    alert_for_each(DEAD, "recipient"),
    alert_for_each("metric.disk", "disk"),
    alert_for_each("metric.disk_trend", "disk"),
    alert("metric.mem"),
    alert("metric.swap"),
    alert("metric.cpu"),
    alert("metric.iowait"),
    alert("metric.load"),
    alert("metric.net"),
    alert("metric.disk_io"),
    alert("metric.poll"),
    alert("metric.uptime"),
    news("server.created"),
    news("server.deleted"),
    news("server.moved"),
    news("deploy.ok"),
    news("domain.created"),
    news("domain.changed"),
    news("domain.deleted"),
    news("domain.healed"),
    news("domain.site_forgotten"),
    news("ns.changed"),
    news("alert.acknowledged"),
    news("alert.reopened"),
    news("alert.muted"),
    news("alert.silenced"),
    news("alert.audible"),
    news("alert.calm"),
    news("silence.created"),
    news("silence.began"),
    news("silence.ended"),
];

/// Messages to a recipient do not get through; over with [`RECOVERED`].
pub const DEAD: &str = "notification.dead";
/// They do again.
pub const RECOVERED: &str = "notification.recovered";

/// What an alert is about, for machines: type, number and name, and which part of it (its disk, its recipient).
pub fn target(kind: &str, target: (&str, i64, &str), part: &str) -> Value {
    let mut out = json!({ "type": target.0, "id": target.1, "name": target.2 });
    // A figure's part begins with the number of its rule.
    let part = match kind.starts_with("metric.") {
        true => part.split_once(':').map_or("", |(_, part)| part),
        false => part,
    };
    let named = KINDS.iter().find(|k| k.name == kind).map_or("", |k| k.part);
    if !named.is_empty() && !part.is_empty() {
        out[named] = part.into();
    }
    out
}

/// Can somebody subscribe to this?
pub fn is_known(name: &str) -> bool {
    KINDS.iter().any(|k| k.name == name)
}

/// Can there be an alert of this kind?
pub fn is_alert(name: &str) -> bool {
    KINDS.iter().any(|k| k.name == name && k.is_alert)
}

/// Is it told by itself, without an alert?
pub fn is_news(name: &str) -> bool {
    KINDS.iter().any(|k| k.name == name && !k.is_alert)
}

/// Does a subscription take this alert? One that names no alert takes every one, also those that a later version adds.
pub fn takes_alert(events: &[String], kind: &str) -> bool {
    let mut alerts = events.iter().filter(|e| !is_news(e)).peekable();
    alerts.peek().is_none() || alerts.any(|e| e == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_no_alert_gets_every_alert_and_who_names_one_gets_that() {
        let none: &[String] = &[];
        let news = &["deploy.ok".to_string()];
        let one = &["deploy.ok".to_string(), "ns.mismatch".to_string()];
        assert!(takes_alert(none, "ns.mismatch") && takes_alert(news, "brand.new"));
        assert!(takes_alert(one, "ns.mismatch") && !takes_alert(one, "server.unreachable"));
        assert!(is_news("deploy.ok") && !is_news("deploy.failed") && !is_known("x"));
    }
}
