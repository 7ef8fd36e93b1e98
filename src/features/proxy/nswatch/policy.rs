//! Policies for the host names of a domain's name servers. Each form applies to all of them:
//!
//! | policy | a name server fits when |
//! |---|---|
//! | `dnspod` | the text stands anywhere in its name (so `dnspod.evil.example` fits, too) |
//! | `suffix:dnspod.net` | it is that name or below it (or one of several, with commas between) |
//! | `exact:ns1.example.net,ns2.example.net` | it is one of these |
//!
//! Compared are A-labels in lower case, without final dot. An empty policy matches everything: then only changes are
//! reported.

use crate::base::idn::DomainName;

/// A parsed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Anything is accepted.
    None,
    /// Each name contains this text.
    Substring(String),
    /// Each is one of these names or below it.
    Suffix(Vec<String>),
    /// Each is one of these.
    Exact(Vec<String>),
}

impl Policy {
    /// Parses a policy. Without a known prefix it is a substring.
    pub fn parse(text: &str) -> Policy {
        let text = text.trim().to_lowercase();
        let names = |list: &str| -> Vec<String> {
            let words = list.split([',', ' ']).filter(|word| !word.is_empty());
            let words = words.map(|word| a_labels(word.trim_start_matches('.')));
            words.filter(|name| !name.is_empty()).collect()
        };
        if text.is_empty() {
            Policy::None
        } else if let Some(suffix) = text.strip_prefix("suffix:") {
            Policy::Suffix(names(suffix))
        } else if let Some(list) = text.strip_prefix("exact:") {
            Policy::Exact(names(list))
        } else {
            Policy::Substring(text)
        }
    }

    /// Does this name server match?
    pub fn fits(&self, host: &str) -> bool {
        let host = a_labels(host);
        match self {
            Policy::None => true,
            Policy::Substring(text) => host.contains(text.as_str()),
            // An empty list is a mistake: nothing matches.
            Policy::Suffix(names) => names.iter().any(|name| {
                let head = host.strip_suffix(name.as_str());
                head.is_some_and(|head| head.is_empty() || head.ends_with('.'))
            }),
            Policy::Exact(names) => names.contains(&host),
        }
    }
}

/// A name as A-labels; otherwise only lower-cased.
fn a_labels(text: &str) -> String {
    let text = text.strip_suffix('.').unwrap_or(text).to_lowercase();
    match text.is_ascii() {
        true => text,
        false => DomainName::parse(&text).map_or(text, |name| name.ascii().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(policy: &str, host: &str) -> bool {
        Policy::parse(policy).fits(host)
    }

    #[test]
    fn a_substring_may_stand_anywhere_and_a_suffix_only_at_a_dot() {
        assert!(fits("dnspod", "f1g1ns1.dnspod.net") && fits("DNSPod", "F1G1NS1.DNSPOD.NET."));
        assert!(
            fits("dnspod", "ns1.dnspod.net.evil.example"),
            "a substring matches anywhere"
        );
        assert!(!fits("dnspod", "ns1.reg.ru"));
        assert!(fits("suffix:dnspod.net", "f1g1ns1.dnspod.net") && fits("suffix: .DNSPOD.net. ", "dnspod.net"));
        assert!(!fits("suffix:dnspod.net", "ns1.dnspod.net.evil.example") && !fits("suffix:dnspod.net", "xdnspod.net"));
        assert!(!fits("suffix:", "ns1.example") && !fits("suffix:.", "ns1.example"));
        assert!(fits("suffix:a.example,dnspod.net", "x.dnspod.net") && fits(".dnspod.", "ns1.dnspod.net"));
        assert!(!fits(".dnspod.", "ns1.dnspods.net"));
    }

    #[test]
    fn an_exact_list_takes_its_names_only() {
        let list = "exact:NS1.example.net., ns2.example.net";
        assert!(fits(list, "ns1.example.net") && fits(list, "ns2.example.net."));
        assert!(!fits(list, "ns3.example.net") && !fits(list, "a.ns1.example.net"));
        assert!(!fits("exact:", "ns1.example.net"));
    }

    #[test]
    fn names_of_any_script_are_compared_as_dns_has_them() {
        assert!(fits("suffix:пример.рф", "ns1.xn--e1afmkfd.xn--p1ai"));
        assert!(fits("exact:ns1.пример.рф", "NS1.xn--e1afmkfd.xn--p1ai"));
        assert!(fits("", "whatever.example") && fits("  ", "whatever.example"));
    }
}
