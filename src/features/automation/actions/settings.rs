//! Settings: which folders files may be put into and logs fetched from, and how long a restart may take.

use crate::settings::{Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[FILE_FOLDERS, LOG_FOLDERS, LOG_KIB, REBOOT_WAIT_MIN];

/// `actions.file_folders`
pub const FILE_FOLDERS: Setting = Setting::of_text("actions.file_folders", 1_000, "/srv /opt /var/www", folders);

/// `actions.log_folders`
pub const LOG_FOLDERS: Setting = Setting::of_text("actions.log_folders", 1_000, "/var/log", folders);

/// `actions.log_kib`
pub const LOG_KIB: Setting = Setting::of_number("actions.log_kib", (16, 4_096), 1_024, "KiB");

/// `actions.reboot_wait_min`
pub const REBOOT_WAIT_MIN: Setting = Setting::of_number("actions.reboot_wait_min", (1, 60), 15, "min");

/// Absolute paths with spaces or commas between them; none is no folder at all.
fn folders(text: &str) -> Result<String, String> {
    let all: Vec<&str> = check::words(text).collect();
    match all.iter().find(|path| !is_path(path)) {
        Some(bad) => Err(format!("“{bad}” is not a path like /srv/app.")),
        None => Ok(all.join(" ")),
    }
}

/// An absolute path without dots that lead up, of letters that need no quoting.
pub fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+@=:,-".contains(c);
    let parts = || text.split('/').skip(1);
    text.starts_with('/')
        && text.len() <= 512
        && text.chars().all(plain)
        && (text == "/" || parts().all(|part| !part.is_empty() && part != "." && part != ".."))
}

/// Is a path below one of these folders, as it is written?
pub fn is_below(path: &str, folders: &str) -> bool {
    let mut folders = folders.split(' ').filter(|folder| !folder.is_empty());
    folders.any(|folder| {
        let rest = path.strip_prefix(folder.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_and_leads_nowhere_else() {
        for good in ["/srv", "/srv/app/x.tar.gz", "/", "/opt/a@b:c,d=e+f-g_h"] {
            assert!(is_path(good), "{good}");
        }
        for bad in [
            "",
            "srv",
            "/srv/",
            "//srv",
            "/srv/../etc",
            "/srv/./x",
            "/a b",
            "/a'b",
            "/ä",
            "/a\n",
            "/$x",
        ] {
            assert!(!is_path(bad), "{bad}");
        }
        assert!(is_below("/srv/a", "/opt /srv") && is_below("/etc/a", "/"));
        for other in ["/srv", "/srvx/a", "/etc/a"] {
            assert!(!is_below(other, "/opt /srv"), "{other}");
        }
        assert!(!is_below("/srv/a", ""));
    }
}
