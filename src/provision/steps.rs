//! Steps and failures of the scripts, one table each; scripts use only the ids.

use crate::base::error::Kind;
use crate::lang::{Lang, words};

/// A step of a script; `step.ID` in the catalogue is its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// As in the scripts: `[a-z0-9_]+`.
    pub id: &'static str,
}

impl Step {
    /// Display name.
    pub fn title(&self, lang: Lang) -> &'static str {
        words::word(lang, &format!("step.{}", self.id), None).unwrap_or(self.id)
    }
}

/// The step with this id.
pub fn step(id: &str) -> Option<&'static Step> {
    STEPS.iter().find(|step| step.id == id)
}

/// Every step of every recipe.
pub const STEPS: &[Step] = &[
    Step { id: "who" },
    Step { id: "machine" },
    Step { id: "container" },
    Step { id: "disks" },
    Step { id: "addresses" },
    Step { id: "software" },
    Step { id: "updates" },
    Step { id: "reboot" },
    Step { id: "bundle_needs" },
    Step { id: "engines" },
    Step { id: "system" },
    Step { id: "nginx_before" },
    Step { id: "nginx_mended" },
    Step { id: "port_80" },
    Step { id: "nginx_package" },
    Step { id: "nginx_dirs" },
    Step { id: "nginx_reads" },
    Step { id: "nginx_conf" },
    Step { id: "nginx_test" },
    Step { id: "nginx_enabled" },
    Step { id: "nginx_running" },
    Step { id: "address" },
    Step { id: "glances_port" },
    Step { id: "glances_package" },
    Step {
        id: "glances_stock_off",
    },
    Step { id: "glances_account" },
    Step { id: "glances_unit" },
    Step { id: "glances_running" },
    Step { id: "front_port" },
    Step { id: "front_cert" },
    Step { id: "front_password" },
    Step { id: "front_conf" },
    Step { id: "front_test" },
    Step { id: "front_running" },
    Step { id: "front_answers" },
    Step { id: "front_gone" },
    Step { id: "glances_gone" },
    Step {
        id: "glances_account_gone",
    },
    Step {
        id: "glances_venv_gone",
    },
    Step { id: "firewall_free" },
    Step { id: "firewall_package" },
    Step { id: "firewall_armed" },
    Step { id: "firewall_guard" },
    Step { id: "firewall_rules" },
    Step { id: "firewall_on" },
    Step {
        id: "firewall_confirmed",
    },
    Step { id: "site_nginx" },
    Step { id: "site_files" },
    Step { id: "site_sums" },
    Step { id: "site_healed" },
    Step { id: "site_ready" },
    Step { id: "site_expected" },
    Step { id: "site_ports" },
    Step { id: "site_tools" },
    Step { id: "site_targets" },
    Step { id: "site_first" },
    Step { id: "site_certificate" },
    Step { id: "site_tested" },
    Step { id: "site_armed" },
    Step { id: "site_live" },
    Step { id: "site_proved" },
    Step { id: "followed" },
    Step { id: "site_neighbours" },
    Step { id: "site_kept" },
    Step { id: "site_gone" },
    Step {
        id: "site_certificate_gone",
    },
    Step { id: "site_lineage" },
    Step { id: "site_renewed" },
    Step { id: "service_known" },
    Step { id: "service_config" },
    Step {
        id: "service_restarted",
    },
    Step { id: "service_started" },
    Step { id: "service_stopped" },
    Step { id: "unit_free" },
    Step { id: "unit_needs" },
    Step { id: "unit_secrets" },
    Step { id: "unit_written" },
    Step { id: "unit_enabled" },
    Step { id: "unit_ours" },
    Step { id: "unit_gone" },
    Step { id: "tmux_known" },
    Step { id: "tmux_started" },
    Step { id: "tmux_stopped" },
    Step { id: "booted" },
    Step { id: "reboot_free" },
    Step { id: "reboot_asked" },
    Step { id: "updates_lists" },
    Step { id: "updates_plan" },
    Step { id: "updates_applied" },
    Step { id: "updates_after" },
    Step { id: "file_arrived" },
    Step { id: "file_allowed" },
    Step { id: "file_kept" },
    Step { id: "file_placed" },
];

/// A failure of a job: code, kind of error, advice.
pub struct Failure {
    /// Stable; pages find their text by it.
    pub code: &'static str,
    /// For the HTTP status.
    pub kind: Kind,
    /// What to do, one sentence or two.
    pub advice: &'static str,
}

const fn failure(code: &'static str, kind: Kind, advice: &'static str) -> Failure {
    Failure { code, kind, advice }
}

/// The last one covers everything without a code of its own.
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
        "service_masked",
        Kind::Conflict,
        "Take the mask off on the server (systemctl unmask), then try again.",
    ),
    failure(
        "service_unknown",
        Kind::Conflict,
        "Check its name: systemctl list-units on the server shows all.",
    ),
    failure(
        "service_config",
        Kind::Conflict,
        "Repair it on the server; the service runs on as it was.",
    ),
    failure(
        "service_failed",
        Kind::Upstream,
        "The last lines of its journal are in the task; fetch more of them with the action for logs.",
    ),
    failure(
        "unit_not_ours",
        Kind::Conflict,
        "Give the service another name, or look after that unit as a service of the kind unit.",
    ),
    failure(
        "program_missing",
        Kind::Conflict,
        "Install it on the server, or correct its path.",
    ),
    failure(
        "unit_refused",
        Kind::Conflict,
        "The last lines say why. What was there before is back.",
    ),
    failure(
        "dpkg_unfinished",
        Kind::Conflict,
        "Finish it on the server (dpkg --configure -a), then restart the machine.",
    ),
    failure("no_such_user", Kind::Conflict, "Name another user in the service."),
    failure(
        "no_tmux",
        Kind::Conflict,
        "Install it on the server: apt-get install tmux.",
    ),
    failure("tmux_refused", Kind::Conflict, "Its own words are above."),
    failure("reboot_refused", Kind::Upstream, "The task has its words."),
    failure("file_incomplete", Kind::Upstream, "Try again."),
    failure(
        "folder_missing",
        Kind::Conflict,
        "Make it on the server: no folder is made for a file.",
    ),
    failure(
        "folder_unsafe",
        Kind::Conflict,
        "Files are put only where every folder on the way belongs to root and nobody else may write.",
    ),
    failure(
        "path_not_allowed",
        Kind::Conflict,
        "An administrator says which folders are, in the settings under Actions.",
    ),
    failure("not_a_file", Kind::Conflict, "Choose a regular file."),
    failure(
        "owner_unknown",
        Kind::Conflict,
        "Choose a user and a group that the server has.",
    ),
    failure(
        "disk_full",
        Kind::Conflict,
        "Free some space on the server, then try again.",
    ),
    failure(
        "write_failed",
        Kind::Upstream,
        "Check whether the file system is read-only or damaged.",
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
        "“journalctl -u lamplighter-glances” on the server says more. Files and services were restored.",
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
    failure(
        "bundle_unfit",
        Kind::Conflict,
        "Make a newer bundle on a machine with a mirror (lamplighter bundle make), add it, then try again.",
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
        "Something else in the firewall’s files keeps SSH out (/etc/ufw/before.rules?): check that file, then try again.",
    ),
    failure(
        "proxy_not_ready",
        Kind::Conflict,
        "Choose “Deploy reverse proxy” on the server’s page first, then try again.",
    ),
    failure(
        "site_changed",
        Kind::Conflict,
        "Check the new plan: it shows the difference; then adopt that file or replace it.",
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
        "Find out on the server what answers there and why (“nginx -T”), then try again.",
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
        "Check the URL of the ACME server in the settings and the server’s Internet access; or try again later.",
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
        "Check the new plan, then deploy again.",
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

/// The failure with this code, or the general one.
pub fn failure_of(code: &str) -> &'static Failure {
    let last = &FAILURES[FAILURES.len() - 1];
    FAILURES.iter().find(|failure| failure.code == code).unwrap_or(last)
}
