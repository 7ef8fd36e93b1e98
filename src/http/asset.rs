//! Static files of pages: compiled in, served under a folder named after the hash of all of them, so that they can be
//! cached for ever and relative imports stay within one build.

use crate::base::text;
use std::sync::LazyLock;

/// One file.
pub struct Asset {
    /// Name under `/static/<version>/`.
    pub name: &'static str,
    /// `Content-Type`.
    pub mime: &'static str,
    /// Content.
    pub body: String,
}

/// Immutable: other content has another address.
pub const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";

macro_rules! sources {
    ($folder:literal: $($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../static/", $folder, "/", $name)))),*]
    };
}

/// Parts of `app.css`; of rules with equal specificity the later one wins.
const STYLES: &[(&str, &str)] = sources!["css":
    "tokens.css" "base.css" "shell.css"
    "glyphs.css" "controls.css" "panels.css" "wall.css" "lists.css" "charts.css" "log.css" "dialogs.css" "details.css"
    "certificates.css" "forms.css" "sign.css" "docs.css"
    "narrow.css" "util.css"
];

/// `app.js` with its imports is on every page; other scripts are named in templates.
const SCRIPTS: &[(&str, &str)] = sources!["js":
    "dom.js" "words.js" "format.js" "toast.js" "api.js" "live.js" "theme.js" "actions.js" "dialogs.js" "tables.js"
    "palette.js" "app.js"
    "canvas.js" "chart.js" "confirm.js" "log.js" "steps.js"
    "figures.js" "alerts.js" "files.js" "lines.js" "containers.js" "overview.js" "progress.js" "rules.js" "secrets.js"
    "series.js" "server.js" "servers.js" "services.js" "tasks.js"
];

const PICTURES: &[(&str, &str)] = sources!["icons": "icons.svg" "icon.svg" "icon-degraded.svg" "icon-down.svg"];

/// All of them.
pub static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let styles = STYLES.iter().map(|(_, text)| compact(text)).collect();
    let mut out = vec![asset("app.css", "text/css; charset=utf-8", styles)];
    for (name, text) in SCRIPTS {
        out.push(asset(name, "text/javascript; charset=utf-8", compact(text)));
    }
    for (name, text) in PICTURES {
        out.push(asset(name, "image/svg+xml", (*text).to_string()));
    }
    out
});

fn asset(name: &'static str, mime: &'static str, body: String) -> Asset {
    Asset { name, mime, body }
}

/// Removes indentation and comment lines; line numbers stay.
fn compact(source: &str) -> String {
    let is_comment = |line: &&str| line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
    let lines = source.lines().map(str::trim_start);
    lines
        .flat_map(|line| [Some(line).filter(|line| !is_comment(line)).unwrap_or_default(), "\n"])
        .collect()
}

/// 16 hex digits of the SHA-256 of all files.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    for asset in ASSETS.iter() {
        hash.update(asset.name.as_bytes());
        hash.update(asset.body.as_bytes());
    }
    text::hex(&hash.finish().as_ref()[..8])
});

/// The address of a file of this build.
pub fn url(name: &str) -> Option<String> {
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    Some(format!("/static/{}/{}", *VERSION, asset.name))
}

/// The file at `/static/{version}/{name}`; `None` for another build's version.
pub fn find(version: &str, name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| version == *VERSION && asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_under_the_address_the_pages_give() {
        for asset in ASSETS.iter() {
            let url = url(asset.name).unwrap();
            let [_, _, version, name] = url.split('/').collect::<Vec<_>>()[..] else {
                panic!("{url}")
            };
            assert_eq!(find(version, name).unwrap().body, asset.body);
            assert!(find("0", name).is_none());
        }
        assert!(url("nothing.js").is_none());
    }

    /// `require-trusted-types-for 'script'` and the rest of the policy hold only while nobody writes one of these.
    #[test]
    fn scripts_never_make_markup_or_code_from_text() {
        for asset in ASSETS.iter().filter(|a| a.name.ends_with(".js")) {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "http://",
                "https://",
            ] {
                let found = asset.body.replace("http://www.w3.org/2000/svg", "").contains(word);
                assert!(!found, "{word} in {}", asset.name);
            }
        }
    }

    /// How a server is says the API; a script that knew limits would say something else.
    #[test]
    fn scripts_know_no_limits_of_figures() {
        for asset in ASSETS.iter().filter(|a| a.name.ends_with(".js")) {
            for figure in ["_percent", "load1", "load5", "fail_count"] {
                for (at, _) in asset.body.match_indices(figure) {
                    let after = asset.body[at + figure.len()..].trim_start();
                    let judged =
                        ["<", ">", "=="].iter().any(|sign| after.starts_with(sign)) && !after.starts_with("== null");
                    assert!(
                        !judged,
                        "{} judges {figure}: {}",
                        asset.name,
                        &after[..after.len().min(30)]
                    );
                }
            }
            for word in ["dataset.limits", "'unreachable'", "'provisioning'"] {
                assert!(!asset.body.contains(word), "{word} in {}", asset.name);
            }
        }
    }

    #[test]
    fn no_file_refers_to_the_outside() {
        for asset in ASSETS.iter() {
            let body = asset.body.replace("http://www.w3.org/2000/svg", "");
            assert!(!body.contains("//www.") && !body.contains("@import"), "{}", asset.name);
        }
    }
}
