//! What a domain's name servers must be called. Three ways of saying it, each for every one of them:
//!
//! | policy | a name server fits when |
//! |---|---|
//! | `dnspod` | the text stands anywhere in its name (so `dnspod.evil.example` fits, too) |
//! | `suffix:dnspod.net` | it is that name or below it |
//! | `exact:ns1.example.net,ns2.example.net` | it is one of these |
//!
//! Compared are A-labels in lower case without final dot, whatever was typed. An empty policy fits everything: then only
//! a change is told.

use crate::base::idn::DomainName;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Nothing is asked for.
    None,
    /// This text stands in each name.
    Substring(String),
    /// Each is this name or below it.
    Suffix(String),
    /// Each is one of these.
    Exact(Vec<String>),
}

impl Policy {
    /// Reads a policy as a person wrote it. Everything without a known first word is a substring.
    pub fn parse(text: &str) -> Policy {
        let text = text.trim().to_lowercase();
        let names = |list: &str| -> Vec<String> {
            let words = list.split([',', ' ']).filter(|word| !word.is_empty());
            words.map(|word| a_labels(word.trim_start_matches('.'))).collect()
        };
        if text.is_empty() {
            Policy::None
        } else if let Some(suffix) = text.strip_prefix("suffix:") {
            Policy::Suffix(a_labels(suffix.trim().trim_start_matches('.')))
        } else if let Some(list) = text.strip_prefix("exact:") {
            Policy::Exact(names(list))
        } else {
            Policy::Substring(a_labels(&text))
        }
    }

    /// Does this name server fit?
    pub fn fits(&self, host: &str) -> bool {
        let host = a_labels(host);
        match self {
            Policy::None => true,
            Policy::Substring(text) => host.contains(text.as_str()),
            // An empty suffix is a slip of the pen, not a wish for anything.
            Policy::Suffix(suffix) if suffix.is_empty() => false,
            Policy::Suffix(suffix) => host
                .strip_suffix(suffix.as_str())
                .is_some_and(|head| head.is_empty() || head.ends_with('.')),
            Policy::Exact(names) => names.contains(&host),
        }
    }
}

/// As DNS has it; what is no name (a substring need not be one) only in lower case.
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
        assert!(fits("dnspod", "ns1.dnspod.net.evil.example"), "as the seed says");
        assert!(!fits("dnspod", "ns1.reg.ru"));
        assert!(fits("suffix:dnspod.net", "f1g1ns1.dnspod.net") && fits("suffix: .DNSPOD.net. ", "dnspod.net"));
        assert!(!fits("suffix:dnspod.net", "ns1.dnspod.net.evil.example") && !fits("suffix:dnspod.net", "xdnspod.net"));
        assert!(!fits("suffix:", "ns1.example") && !fits("suffix:.", "ns1.example"));
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
