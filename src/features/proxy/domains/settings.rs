//! Settings: name resolution, certificates, drift checks.

use crate::net::dns;
use crate::settings::{Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[
    DNS_RESOLVERS,
    DRIFT_INTERVAL_MIN,
    ACME_EMAIL,
    ACME_DIRECTORY,
    NGINX_HSTS_MAX_AGE_S,
];

/// `dns.resolvers`
pub const DNS_RESOLVERS: Setting = Setting::of_text(
    "dns.resolvers",
    300, // six IPv6 addresses with brackets and ports
    "",
    |text| dns::parse_servers(text).map(|_| text.into()),
);

/// `drift.interval_min`
pub const DRIFT_INTERVAL_MIN: Setting = Setting::of_number("drift.interval_min", (1, 1440), 15, "min");

/// `acme.email`
pub const ACME_EMAIL: Setting = Setting::of_text(
    "acme.email",
    200, // RFC 5321 allows 254
    "",
    check::email,
);

/// `acme.directory`
pub const ACME_DIRECTORY: Setting = Setting::of_text(
    "acme.directory",
    300, // room for a long name and path of a private CA
    "https://acme-v02.api.letsencrypt.org/directory",
    check::https_url,
);

/// `nginx.hsts_max_age_s`
pub const NGINX_HSTS_MAX_AGE_S: Setting = Setting::of_number(
    "nginx.hsts_max_age_s",
    (0, 63_072_000), // two years is what browsers' preload lists require
    31_536_000,
    "s",
);
