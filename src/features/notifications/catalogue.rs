//! What an endpoint can subscribe to. Alerts come with their recovery; news are single events that ask for nothing.

/// Something that a message may tell of.
pub struct Kind {
    /// The event's name.
    pub name: &'static str,
    /// Raised and resolved by `alerts`, or told once.
    pub is_alert: bool,
}

const fn alert(name: &'static str) -> Kind {
    Kind { name, is_alert: true }
}

const fn news(name: &'static str) -> Kind {
    Kind { name, is_alert: false }
}

/// All of them, in the order of the form. A test of the alerts holds their rules against this.
pub const KINDS: &[Kind] = &[
    alert("server.unreachable"),
    alert("controller.offline"),
    alert("resolver.silent"),
    alert("host.key_changed"),
    alert("auth.refresh_reused"),
    alert("server.deploy_failed"),
    alert("deploy.failed"),
    alert("domain.drifted"),
    alert("ns.mismatch"),
    alert("ns.resolve_failed"),
    alert("certificate.soon"),
    alert("certificate.urgent"),
    alert("certificate.bad"),
    alert("certificate.failed"),
    alert(DEAD),
    alert("metric.disk"),
    alert("metric.disk_trend"),
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
    news("deploy.ok"),
    news("domain.created"),
    news("domain.changed"),
    news("domain.deleted"),
    news("domain.healed"),
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

/// Messages to an endpoint do not get through; over with [`RECOVERED`].
pub const DEAD: &str = "notification.dead";
/// They do again.
pub const RECOVERED: &str = "notification.recovered";

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
