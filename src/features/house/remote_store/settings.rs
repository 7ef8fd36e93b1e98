//! Where the remote store is.

use crate::settings::{Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[PUSH_URL, PUSH_READ_URL, PUSH_USER];

/// `push.url`
pub const PUSH_URL: Setting = Setting::of_text(
    "push.url",
    300, // room for a long name and path
    "",
    check::base_url,
    "Where measured values are pushed to: a VictoriaMetrics, like http://192.0.2.5:8428. They go to /api/v1/import below it. Empty: nowhere.",
    "Куда отправлять измеренные значения: VictoriaMetrics, например http://192.0.2.5:8428. Они идут на /api/v1/import под ним. Пусто: никуда.",
);

/// `push.read_url`
pub const PUSH_READ_URL: Setting = Setting::of_text(
    "push.read_url",
    300, // as above
    "",
    check::base_url,
    "Where charts read what is not kept here any more: mostly the same address; of a cluster, that of its queries, like http://192.0.2.5:8481/select/0/prometheus. It is shown the same user and secret. Empty: charts show what is kept here.",
    "Откуда графики берут то, что здесь уже не хранится: обычно тот же адрес; у кластера — адрес запросов, например http://192.0.2.5:8481/select/0/prometheus. Имя и секрет те же. Пусто: графики показывают то, что хранится здесь.",
);

/// `push.user`
pub const PUSH_USER: Setting = Setting::of_text(
    "push.user",
    100, // nobody's login is longer
    "",
    check::http_user,
    "Its user, when it wants user and password. Empty: the secret is sent as a bearer token.",
    "Его пользователь, если нужны имя и пароль. Пусто: секрет отправляется как bearer-токен.",
);
