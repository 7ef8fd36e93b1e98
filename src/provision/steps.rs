//! What the scripts call their steps and their failures, in words. One table each; the scripts know only the ids.

use crate::base::error::Kind;

/// A step's id in the scripts, and its name for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// As in the scripts: `[a-z0-9_]+`.
    pub id: &'static str,
    /// English.
    pub en: &'static str,
    /// Russian.
    pub ru: &'static str,
}

/// The step with this id.
pub fn step(id: &str) -> Option<&'static Step> {
    STEPS.iter().find(|step| step.id == id)
}

const fn name(id: &'static str, en: &'static str, ru: &'static str) -> Step {
    Step { id, en, ru }
}

/// Every step of every recipe.
pub const STEPS: &[Step] = &[
    name("who", "Who we are there", "Кто мы там"),
    name("machine", "System and hardware", "Система и железо"),
    name("container", "Container", "Контейнер"),
    name("disks", "Disks", "Диски"),
    name("addresses", "Addresses", "Адреса"),
    name("software", "Installed programs", "Установленные программы"),
    name("system", "Debian or Ubuntu with systemd", "Debian или Ubuntu с systemd"),
    name(
        "nginx_before",
        "nginx configuration as found",
        "Конфигурация nginx до изменений",
    ),
    name(
        "nginx_mended",
        "No file of ours keeps nginx down",
        "Ни один наш файл не мешает nginx",
    ),
    name(
        "port_80",
        "Port 80 is free or nginx’s",
        "Порт 80 свободен или занят nginx",
    ),
    name("nginx_package", "Package nginx", "Пакет nginx"),
    name("nginx_dirs", "Folders for sites", "Каталоги для сайтов"),
    name(
        "nginx_reads",
        "nginx reads the folders, each once",
        "nginx читает каталоги, каждый один раз",
    ),
    name("nginx_conf", "Lamplighter’s nginx file", "Файл Lamplighter для nginx"),
    name(
        "nginx_test",
        "nginx configuration after the change",
        "Конфигурация nginx после изменений",
    ),
    name(
        "nginx_enabled",
        "nginx starts with the server",
        "nginx запускается вместе с сервером",
    ),
    name(
        "nginx_running",
        "nginx runs with this configuration",
        "nginx работает с этой конфигурацией",
    ),
    name("address", "The address to listen on", "Адрес для приёма соединений"),
    name("glances_port", "Port of Glances is free", "Порт Glances свободен"),
    name(
        "glances_package",
        "Glances and its web library",
        "Glances и его веб-библиотека",
    ),
    name(
        "glances_stock_off",
        "Debian’s own Glances service is off",
        "Штатная служба Glances выключена",
    ),
    name("glances_account", "Account for Glances", "Учётная запись для Glances"),
    name(
        "glances_unit",
        "Service lamplighter-glances",
        "Служба lamplighter-glances",
    ),
    name(
        "glances_running",
        "Glances runs and answers",
        "Glances работает и отвечает",
    ),
    name(
        "front_port",
        "Port of the protected entrance is free",
        "Порт защищённого входа свободен",
    ),
    name("front_cert", "Certificate of the entrance", "Сертификат входа"),
    name("front_password", "Password of the entrance", "Пароль входа"),
    name("front_conf", "nginx site of the entrance", "Сайт nginx для входа"),
    name(
        "front_test",
        "nginx configuration with the entrance",
        "Конфигурация nginx со входом",
    ),
    name("front_running", "nginx serves the entrance", "nginx обслуживает вход"),
    name(
        "front_answers",
        "Glances answers through the entrance",
        "Glances отвечает через вход",
    ),
    name(
        "front_gone",
        "No entrance left from another choice",
        "Прежний вход убран",
    ),
    name(
        "glances_gone",
        "Service of Lamplighter’s Glances is gone",
        "Служба Glances от Lamplighter убрана",
    ),
    name(
        "glances_account_gone",
        "Account for Glances is gone",
        "Учётная запись для Glances убрана",
    ),
    name(
        "glances_venv_gone",
        "Glances from wheels is gone",
        "Glances из wheel-пакетов убран",
    ),
    name(
        "firewall_free",
        "The firewall is free to be changed",
        "Брандмауэр можно менять",
    ),
    name("firewall_package", "Package ufw", "Пакет ufw"),
    name(
        "firewall_armed",
        "Timer that puts the firewall back",
        "Таймер отката брандмауэра",
    ),
    name("firewall_guard", "SSH stays reachable", "SSH остаётся доступным"),
    name(
        "firewall_rules",
        "Rules for the port of Glances",
        "Правила для порта Glances",
    ),
    name("firewall_on", "Firewall is on", "Брандмауэр включён"),
    name(
        "firewall_confirmed",
        "A new connection gets through",
        "Новое соединение проходит",
    ),
    name("site_nginx", "nginx as it is", "nginx как есть"),
    name("site_files", "Files of the sites", "Файлы сайтов"),
    name("site_sums", "Files of the sites compared", "Сверка файлов сайтов"),
    name(
        "site_healed",
        "Nothing left of a broken-off job",
        "Нет следов прерванной задачи",
    ),
    name(
        "site_ready",
        "nginx runs and is prepared for sites",
        "nginx работает и готов к сайтам",
    ),
    name(
        "site_expected",
        "The file is as planned from",
        "Файл тот же, что при плане",
    ),
    name(
        "site_ports",
        "Ports are free or nginx’s",
        "Порты свободны или заняты nginx",
    ),
    name("site_tools", "Programs for certificates", "Программы для сертификатов"),
    name(
        "site_targets",
        "Names of the targets resolve",
        "Имена целей разрешаются",
    ),
    name(
        "site_first",
        "Reachable for the ACME server",
        "Доступен для сервера ACME",
    ),
    name("site_certificate", "Certificate", "Сертификат"),
    name(
        "site_tested",
        "nginx accepts the new configuration",
        "nginx принимает новую конфигурацию",
    ),
    name("site_armed", "Rollback is prepared", "Откат подготовлен"),
    name("site_live", "New site is live", "Новый сайт включён"),
    name("site_proved", "Request through the proxy", "Запрос через прокси"),
    name(
        "followed",
        "Name servers and addresses of targets are those of now",
        "Серверы имён и адреса целей — нынешние",
    ),
    name(
        "site_neighbours",
        "Everybody else is answered as before",
        "Остальным отвечают как раньше",
    ),
    name("site_kept", "Change is kept", "Изменение закреплено"),
    name("site_gone", "Site is off", "Сайт выключен"),
    name(
        "site_certificate_gone",
        "Certificate of the site removed",
        "Сертификат сайта убран",
    ),
    name(
        "site_lineage",
        "certbot keeps a certificate",
        "certbot хранит сертификат",
    ),
    name("site_renewed", "Certificate renewed", "Сертификат продлён"),
];

/// A way a job fails: its code, what kind of error it is, and what to do about it.
pub struct Failure {
    /// Stable; pages find their words by it.
    pub code: &'static str,
    /// For the HTTP status.
    pub kind: Kind,
    /// What to do, one sentence or two.
    pub advice: &'static str,
}

const fn failure(code: &'static str, kind: Kind, advice: &'static str) -> Failure {
    Failure { code, kind, advice }
}

/// The last one stands for everything that has no code of its own.
pub const FAILURES: &[Failure] = &[
    failure(
        "not_root",
        Kind::Forbidden,
        "Let Lamplighter log in as root or as a user with sudo.",
    ),
    failure(
        "not_debian",
        Kind::Conflict,
        "Lamplighter installs programs on Debian and Ubuntu only.",
    ),
    failure(
        "no_systemd",
        Kind::Conflict,
        "Containers without systemd can be watched, but not set up.",
    ),
    failure("job_running", Kind::Conflict, "Wait for it to end, then try again."),
    failure(
        "dpkg_locked",
        Kind::Conflict,
        "Most often these are automatic updates: try again when they are done.",
    ),
    failure(
        "apt_failed",
        Kind::Upstream,
        "Run the command on the server by hand; its package sources or its packages need repair.",
    ),
    failure(
        "package_missing",
        Kind::Conflict,
        "Add the missing section to the server’s package sources (on Ubuntu “universe”), then try again.",
    ),
    failure(
        "package_barred",
        Kind::Conflict,
        "Change that file, or install the package by hand, then try again.",
    ),
    failure(
        "disk_full",
        Kind::Conflict,
        "Free some space on the server, then try again.",
    ),
    failure(
        "write_failed",
        Kind::Upstream,
        "Look whether the file system is read-only or broken.",
    ),
    failure(
        "port_taken",
        Kind::Conflict,
        "Stop that program or choose another port, then try again.",
    ),
    failure(
        "address_missing",
        Kind::Conflict,
        "Choose one of the server’s own addresses.",
    ),
    failure(
        "controller_unknown",
        Kind::Conflict,
        "Write the address itself instead of “controller” into the list of who may ask.",
    ),
    failure(
        "nginx_red",
        Kind::Conflict,
        "Repair that line on the server (“nginx -t” must be silent about errors), then try again.",
    ),
    failure(
        "nginx_not_read",
        Kind::Conflict,
        "Add the line there (“include /etc/nginx/conf.d/*.conf;”), then try again.",
    ),
    failure(
        "nginx_read_twice",
        Kind::Conflict,
        "Take one of these lines away, so that each file is read once, then try again.",
    ),
    failure(
        "nginx_not_running",
        Kind::Upstream,
        "“journalctl -u nginx” on the server says more.",
    ),
    failure(
        "glances_not_answering",
        Kind::Upstream,
        "“journalctl -u lamplighter-glances” on the server says more. Files and services were put back as they were.",
    ),
    failure(
        "glances_no_package",
        Kind::Conflict,
        "This release may have none: choose “wheels” as the source. On Ubuntu it is in the section “universe”.",
    ),
    failure(
        "wheels_unfit",
        Kind::Conflict,
        "Make a bundle of wheels with “pip download” on a machine with the server’s Python, and name it in the settings (glances.bundle).",
    ),
    failure(
        "index_unreachable",
        Kind::Upstream,
        "Let the server reach its index (pip config), or name a bundle of wheels in the settings (glances.bundle).",
    ),
    failure(
        "bundle_missing",
        Kind::Upstream,
        "Try again: what has arrived is sent once more.",
    ),
    failure("venv_foreign", Kind::Conflict, "Move that folder away, then try again."),
    failure(
        "other_firewall",
        Kind::Conflict,
        "Two of them on one server get in each other’s way: set the rule there, or choose the protected entrance.",
    ),
    failure(
        "ufw_lockout_reverted",
        Kind::Conflict,
        "Something else in the firewall’s files keeps SSH out (/etc/ufw/before.rules?): look there, then try again.",
    ),
    failure(
        "proxy_not_ready",
        Kind::Conflict,
        "Choose “Deploy reverse proxy” on the server’s page first, then try again.",
    ),
    failure(
        "site_changed",
        Kind::Conflict,
        "Look at the new plan: it shows the difference; then adopt that file or replace it.",
    ),
    failure(
        "foreign_site",
        Kind::Conflict,
        "Remove the name or the file there, then try again: nginx would listen to one of the two only.",
    ),
    failure(
        "would_be_default",
        Kind::Conflict,
        "Add default_server to that file’s listen line, or deploy again and say that this may change.",
    ),
    failure(
        "neighbour_changed",
        Kind::Conflict,
        "Look on the server who answers there and why (“nginx -T”), then try again.",
    ),
    failure(
        "http2_shared",
        Kind::Conflict,
        "Deploy again: the site is written without it.",
    ),
    failure(
        "site_red",
        Kind::Conflict,
        "Correct what that line comes from, then try again.",
    ),
    failure(
        "site_not_served",
        Kind::Upstream,
        "“nginx -T” and “ss -ltnp” on the server show who answers there.",
    ),
    failure(
        "target_unresolved",
        Kind::Conflict,
        "Correct the target’s name or the server’s name servers, or give an address.",
    ),
    failure(
        "acme_wrong_address",
        Kind::Conflict,
        "The name must point to this server, and port 80 must be open from outside.",
    ),
    failure(
        "acme_no_address",
        Kind::Conflict,
        "Create the A or AAAA record, wait until it is seen, then try again.",
    ),
    failure(
        "acme_forbidden",
        Kind::Conflict,
        "Change the CAA record or the ACME server.",
    ),
    failure(
        "acme_unreachable",
        Kind::Upstream,
        "Look at the address of the ACME server in the settings and at the server’s way out; or try again later.",
    ),
    failure(
        "acme_untrusted",
        Kind::Conflict,
        "Add its authority to the server’s own list (/usr/local/share/ca-certificates, update-ca-certificates).",
    ),
    failure(
        "acme_rate_limited",
        Kind::Conflict,
        "Wait until the time it names, or try with its staging server.",
    ),
    failure(
        "acme_account",
        Kind::Conflict,
        "Remove that server’s folder below /etc/letsencrypt/accounts on the server, then try again: a new account is made.",
    ),
    failure("acme_email", Kind::Conflict, "Correct the address in the settings."),
    failure(
        "acme_settings",
        Kind::Conflict,
        "Take that line out of the file, then try again.",
    ),
    failure("acme_busy", Kind::Conflict, "Wait for it to end, then try again."),
    failure(
        "acme_failed",
        Kind::Upstream,
        "/var/log/letsencrypt/letsencrypt.log on the server says more.",
    ),
    failure(
        "lineage_changed",
        Kind::Conflict,
        "Look at the new plan, then deploy again.",
    ),
    failure(
        "lineage_leftovers",
        Kind::Conflict,
        "Put back what is missing there, or remove these when nothing uses them, then try again.",
    ),
    failure(
        "no_lineage",
        Kind::Conflict,
        "Deploy the domain: that gets a certificate.",
    ),
    failure(
        "broken_off",
        Kind::Upstream,
        "Try again: what was done already is recognised.",
    ),
    failure(
        "step_failed",
        Kind::Upstream,
        "What the server said stands in the task’s log.",
    ),
];

/// The failure with this code, or the one for everything else.
pub fn failure_of(code: &str) -> &'static Failure {
    let last = &FAILURES[FAILURES.len() - 1];
    FAILURES.iter().find(|failure| failure.code == code).unwrap_or(last)
}
