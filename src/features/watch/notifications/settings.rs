//! How often, how long and to which networks is told, and how long the log of it is kept.

use crate::settings::{Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[
    SITE_PUBLIC_URL,
    MESSAGES_MIN_INTERVAL_S,
    MESSAGES_MAX_AGE_H,
    MESSAGES_NETWORKS,
    MESSAGES_MAIL_NAME,
    RETENTION_DELIVERY_DAYS,
    RETENTION_DELIVERIES_MAX,
];

/// `site.public_url`
pub const SITE_PUBLIC_URL: Setting = Setting::of_text(
    "site.public_url",
    300, // room for a long name and a path
    "",
    check::base_url,
    "Where people find this Lamplighter, like https://lamp.example.com: messages link there. Empty: no links.",
    "Где люди находят этот Lamplighter, например https://lamp.example.com: туда ведут ссылки из сообщений. Пусто: без ссылок.",
);

/// `messages.min_interval_s`
pub const MESSAGES_MIN_INTERVAL_S: Setting = Setting::of_number(
    "messages.min_interval_s",
    (0, 86400),
    300,
    "s",
    "The same thing is told to the same receiver at most this often; what comes in between is counted.",
    "Об одном и том же один получатель узнаёт не чаще; сообщения между ними подсчитываются.",
);

/// `messages.max_age_h`
pub const MESSAGES_MAX_AGE_H: Setting = Setting::of_number(
    "messages.max_age_h",
    (1, 168),
    24,
    "h",
    "How long an undelivered message is tried again.",
    "Как долго повторять попытки доставить сообщение.",
);

/// `messages.networks`
pub const MESSAGES_NETWORKS: Setting = Setting::of_text(
    "messages.networks",
    300, // eight IPv6 blocks
    "",
    check::networks,
    "Messages go to public addresses only. Networks of your own that they may go to as well: up to eight blocks like 10.0.0.0/8 or 127.0.0.1, with spaces between.",
    "Сообщения уходят только на общедоступные адреса. Ваши сети, куда им тоже можно: до восьми блоков через пробел, например 10.0.0.0/8 или 127.0.0.1.",
);

/// `messages.mail_name`
pub const MESSAGES_MAIL_NAME: Setting = Setting::of_text(
    "messages.mail_name",
    253, // a DNS name
    "",
    check::own_name,
    "The name that Lamplighter greets mail servers with, or an address. Empty: its public address, else this machine's own name.",
    "Имя или адрес, которым Lamplighter приветствует почтовые серверы. Пусто: его публичный адрес, а без него собственное имя машины.",
);

/// `retention.delivery_days`
pub const RETENTION_DELIVERY_DAYS: Setting = Setting::of_number(
    "retention.delivery_days",
    (1, 3650),
    30,
    "d",
    "How long the log of sent messages is kept.",
    "Сколько хранить журнал отправленных сообщений.",
);

/// `retention.deliveries_max`
pub const RETENTION_DELIVERIES_MAX: Setting = Setting::of_number(
    "retention.deliveries_max",
    (1_000, 1_000_000),
    20_000,
    "",
    "How many sent messages are kept at most; the oldest go first. What still waits to be sent is never counted.",
    "Сколько отправленных сообщений хранить самое большее; первыми уходят старые. Ждущие отправки не считаются.",
);
