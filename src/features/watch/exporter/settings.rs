//! Who may read figures, and how long they wait for the remote store.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[EXPORTER_LOCAL, PUSH_BUFFER_HOURS];

/// `exporter.local`
pub const EXPORTER_LOCAL: Setting = Setting::of_number(
    "exporter.local",
    (0, 2),
    1,
    "",
    "What programs on this machine read at /metrics without a token. 0: nothing. 1: Lamplighter's own figures. 2: the servers' as well. Set 0 when a proxy on this machine passes everything on and adds no X-Forwarded-For.",
    "Что программы на этой машине читают на /metrics без токена. 0: ничего. 1: показатели самого Lamplighter. 2: и серверов тоже. Ставьте 0, если прокси на этой машине пропускает всё и не добавляет X-Forwarded-For.",
);

/// `push.buffer_hours`
pub const PUSH_BUFFER_HOURS: Setting = Setting::of_number(
    "push.buffer_hours",
    (1, 72),
    6,
    "h",
    "How long values wait for an engine that does not answer; older ones are not pushed any more.",
    "Сколько значения ждут хранилище, которое не отвечает; более старые уже не отправляются.",
);
