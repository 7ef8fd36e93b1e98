//! Short form of a `User-Agent` (RFC 9110 §10.1.5). It is not verified: it only helps users to tell their own sign-ins
//! apart.

use crate::base::text;

/// Names of browsers; the first match counts. Browsers that also name another one come before it.
const PROGRAMS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chromium/", "Chromium"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];

const SYSTEMS: &[(&str, &str)] = &[
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// Maximum length of an unknown program's name.
const NAME_MAX: usize = 40;

/// `Firefox, Linux`; empty without a `User-Agent`.
pub fn shown(agent: &str) -> String {
    let find = |known: &[(&str, &'static str)]| {
        known
            .iter()
            .find(|(mark, _)| agent.contains(mark))
            .map(|(_, name)| *name)
    };
    let own = agent.split(['/', ' ']).next().unwrap_or_default();
    let program = find(PROGRAMS).unwrap_or(text::cut(own, NAME_MAX));
    match find(SYSTEMS) {
        Some(system) => format!("{program}, {system}"),
        None => program.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_by_their_marks() {
        for (agent, wanted) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "Firefox, Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36 Edg/126.0",
                "Edge, Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1",
                "Safari, iPhone",
            ),
            ("curl/7.88.1", "curl"),
            ("python-requests/2.31", "python-requests"),
            ("", ""),
        ] {
            assert_eq!(shown(agent), wanted);
        }
        assert!(shown(&"x".repeat(500)).len() <= NAME_MAX);
    }
}
