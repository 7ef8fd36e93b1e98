//! When a server is taken for down, and how Glances is installed.

use crate::settings::{Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[POLL_FAIL_THRESHOLD, GLANCES_ALLOW, GLANCES_BIND, GLANCES_BUNDLE];

/// `poll.fail_threshold`
pub const POLL_FAIL_THRESHOLD: Setting = Setting::of_number(
    "poll.fail_threshold",
    (1, 20),
    3,
    "",
    "Missed polls in a row until a lamp is dark.",
    "Пропущенных опросов подряд, после которых фонарь гаснет.",
);

/// `glances.allow`
pub const GLANCES_ALLOW: Setting = Setting::of_text(
    "glances.allow",
    1_000,
    "",
    check::guests,
    "Who may ask Glances on a server that is added from now on: addresses and blocks like 10.0.0.0/8, with spaces or commas between; controller is this Lamplighter, as the server sees it. Empty: everyone. Each server has a list of its own, which holds from its next installation of Glances on.",
    "Кто может спрашивать Glances на серверах, добавленных с этого момента: адреса и сети вида 10.0.0.0/8 через пробел или запятую; controller — этот Lamplighter, каким его видит сервер. Пусто: все. У каждого сервера свой список, он действует со следующей установки Glances.",
);

/// `glances.bind`
pub const GLANCES_BIND: Setting = Setting::of_text(
    "glances.bind",
    4,
    "",
    check::bind,
    "Where Glances listens on a server that is added from now on: host is the one address that the server is known by, without a login, for a private network (a server that is known by a name gets the usual). Empty, the usual: behind nginx with TLS and a password. It holds from the next installation of Glances on; each server can be changed.",
    "Где Glances слушает на серверах, добавленных с этого момента: host — один адрес, под которым сервер известен, без пароля, для частной сети (сервер, известный по имени, получает обычное). Пусто, обычное: за nginx с TLS и паролем. Действует со следующей установки Glances; у каждого сервера можно изменить.",
);

/// `glances.bundle`
pub const GLANCES_BUNDLE: Setting = Setting::of_text(
    "glances.bundle",
    300, // room for a long path
    "",
    check::tar_path,
    "For servers whose release has no Glances package: a tar of Python wheels on this machine, which Lamplighter puts on the server itself. Empty: pip on the server asks the index it is set up for. To make one: pip download --only-binary=:all: -d wheels 'glances[web]<5' with the server's version of Python, then tar -C wheels -cf glances.tar .",
    "Для серверов, в чьём выпуске нет пакета Glances: tar-архив wheel-пакетов Python на этой машине, Lamplighter сам положит его на сервер. Пусто: pip на сервере спрашивает настроенный там индекс. Как собрать: pip download --only-binary=:all: -d wheels 'glances[web]<5' той же версией Python, что на сервере, затем tar -C wheels -cf glances.tar .",
);
