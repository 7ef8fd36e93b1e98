//! Settings: which programs may look, where from here may be looked, and whether logs are followed.

use crate::base::error::Result;
use crate::base::host::Cidr;
use crate::db::Conn;
use crate::net::policy::{Opened, Policy};
use crate::settings::{Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[SERVICES_PROGRAMS, SERVICES_NETWORKS, SERVICES_LOGS];

/// `services.programs`
pub const SERVICES_PROGRAMS: Setting = Setting::of_text(
    "services.programs",
    1_000,
    "/usr/lib/nagios/plugins /usr/local/lib/nagios/plugins /usr/local/lib/lamplighter/checks",
    folders,
);

/// `services.networks`
pub const SERVICES_NETWORKS: Setting = Setting::of_text("services.networks", 300, "", check::networks);

/// `services.logs`
pub const SERVICES_LOGS: Setting = Setting::of_number("services.logs", (0, 1), 1, "");

fn folders(text: &str) -> std::result::Result<String, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_folder = |word: &&str| {
        word.starts_with('/')
            && word.len() > 1
            && !word.split('/').any(|part| part == "..")
            && !word.contains(['\'', '\\'])
    };
    match words.iter().find(|word| !is_folder(word)) {
        Some(odd) => Err(format!(
            "“{odd}” is no absolute path of a folder, like /usr/lib/nagios/plugins."
        )),
        None => Ok(words.join(" ")),
    }
}

/// May this program look? Below one of the folders; the server itself checks where links lead.
pub fn is_allowed(folders: &str, program: &str) -> bool {
    let below = |folder: &str| {
        let folder = folder.trim_end_matches('/');
        program
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
    };
    folders.split_whitespace().any(below)
}

/// Where a look from here may go. An administrator's services go to private networks, too.
pub fn policy(conn: &Conn, private: bool) -> Result<Policy> {
    if private {
        return Ok(Policy::Server);
    }
    let text = SERVICES_NETWORKS.text(conn)?;
    let mut opened = Opened::default();
    for (slot, block) in opened.iter_mut().zip(text.split_whitespace()) {
        *slot = Cidr::parse(block).ok();
    }
    Ok(Policy::PublicAnd(opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_below_an_allowed_folder_may_look() {
        let folders = "/usr/lib/nagios/plugins /opt/checks/";
        assert!(is_allowed(folders, "/usr/lib/nagios/plugins/check_load") && is_allowed(folders, "/opt/checks/a/b"));
        for program in [
            "/usr/lib/nagios/plugins",
            "/usr/lib/nagios/pluginsx/a",
            "/bin/sh",
            "/opt/checks/",
        ] {
            assert!(!is_allowed(folders, program), "{program}");
        }
        assert!(super::folders("bin").is_err() && super::folders("/a/../b").is_err());
    }
}
