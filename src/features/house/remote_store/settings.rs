//! Settings: address of the remote store.

use crate::settings::{Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[PUSH_URL, PUSH_READ_URL, PUSH_USER];

/// `push.url`
pub const PUSH_URL: Setting = Setting::of_text(
    "push.url",
    300, // room for a long name and path
    "",
    check::base_url,
);

/// `push.read_url`
pub const PUSH_READ_URL: Setting = Setting::of_text(
    "push.read_url",
    300, // as above
    "",
    check::base_url,
);

/// `push.user`
pub const PUSH_USER: Setting = Setting::of_text(
    "push.user",
    100, // longer than any login
    "",
    check::http_user,
);
