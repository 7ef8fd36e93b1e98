//! Errors between us and a server, each with code, observation and advice. `ssh` exits with 255 for all of them: its
//! messages (kept in [`Error::log`]) distinguish them.

use super::{Auth, Target};
use crate::base::error::{Error, Kind};
use crate::base::text;

/// Code, kind, sentence; `{at}` becomes `user@host:port`.
const TABLE: &[(&str, Kind, &str)] = &[
    (
        "ssh_wrong_password",
        Kind::Upstream,
        "{at} refused the password. Check the user name and the password; the server may also forbid passwords for this user.",
    ),
    (
        "ssh_password_off",
        Kind::Upstream,
        "{at} takes no passwords. Use a key, or allow PasswordAuthentication in its sshd.",
    ),
    (
        "ssh_second_factor",
        Kind::Upstream,
        "{at} asked for something else than a password (a second factor?). Use a key for Lamplighter.",
    ),
    (
        "ssh_key_refused",
        Kind::Upstream,
        "{at} refused the key. Put its public half into this user's ~/.ssh/authorized_keys, or check the user name.",
    ),
    (
        "ssh_wrong_passphrase",
        Kind::Invalid,
        "The passphrase does not open the key. Type it again; it never leaves this machine.",
    ),
    (
        "ssh_passphrase_needed",
        Kind::Invalid,
        "The key is encrypted. Give its passphrase too.",
    ),
    (
        "ssh_key_unreadable",
        Kind::Invalid,
        "OpenSSH cannot read this key. Paste the whole private key again, from its BEGIN to its END line.",
    ),
    (
        "ssh_key_pkcs8",
        Kind::Invalid,
        "This Ed25519 key is in PKCS#8 form, which OpenSSH does not read. Make a new one with `ssh-keygen -t ed25519`.",
    ),
    (
        "ssh_refused",
        Kind::Upstream,
        "{at} refused the connection: the machine is up, but nothing listens there. Check the port and that sshd runs.",
    ),
    (
        "ssh_no_route",
        Kind::Upstream,
        "There is no route to {at}: the machine is off, or the address is wrong.",
    ),
    (
        "ssh_timeout",
        Kind::Timeout,
        "{at} did not answer in time: the machine is off, or a firewall drops the connection.",
    ),
    (
        "ssh_login_slow",
        Kind::Timeout,
        "{at} answers, but did not let us in or refuse us in time: something that its sshd asks (PAM, a directory of users, a name server) hangs.",
    ),
    (
        "ssh_shell_silent",
        Kind::Timeout,
        "{at} let us in, but its shell has not begun our command: a start-up file of this user, such as ~/.bashrc, does not end or waits for input. Put “case $- in *i*) ;; *) return ;; esac” at its top, as Debian's own has it.",
    ),
    (
        "ssh_password_expired",
        Kind::Upstream,
        "{at} wants a new password to be chosen before anything else. Log in there once by hand, choose one, and store it here.",
    ),
    (
        "ssh_other_user",
        Kind::Upstream,
        "{at} lets another user in instead of this one. Change the user name here.",
    ),
    (
        "ssh_name_unknown",
        Kind::Upstream,
        "The name of {at} cannot be resolved. Check its spelling and this machine's DNS.",
    ),
    (
        "ssh_silent",
        Kind::Timeout,
        "{at} accepts the connection but says nothing: its sshd hangs, or another service is on this port.",
    ),
    (
        "ssh_closed",
        Kind::Upstream,
        "{at} closed the connection before the login: it is starting or stopping, has too many logins under way, or bars this address.",
    ),
    (
        "ssh_too_old",
        Kind::Upstream,
        "{at} and this machine share no cipher or signature. Its sshd is too old.",
    ),
    (
        "ssh_host_key_unknown",
        Kind::Conflict,
        "The host key of {at} has not been accepted yet. Compare its fingerprint and accept it.",
    ),
    (
        "ssh_host_key_changed",
        Kind::Conflict,
        "{at} shows another host key than the accepted one. It was reinstalled, or the connection is intercepted. Nothing was sent to it. Compare the new fingerprint on the machine itself before you accept it.",
    ),
    (
        "ssh_no_shell",
        Kind::Upstream,
        "The login at {at} worked, but its shell did not run our command: the account is limited to other commands, or a start-up file such as ~/.bashrc ends the shell.",
    ),
    (
        "ssh_link_lost",
        Kind::Upstream,
        "The connection to {at} was lost while the script ran. The server ends the script when it notices; look before you run it again.",
    ),
    (
        "ssh_failed",
        Kind::Upstream,
        "ssh to {at} failed in a way Lamplighter does not know. The log has its words.",
    ),
    (
        "ssh_missing_program",
        Kind::Config,
        "The OpenSSH client is not installed on Lamplighter's own machine. Install the package openssh-client.",
    ),
    (
        "sudo_password_wrong",
        Kind::Upstream,
        "sudo at {at} refused the password. Check the sudo password.",
    ),
    (
        "sudo_password_needed",
        Kind::Upstream,
        "sudo at {at} wants a password. Give the sudo password, or allow this user NOPASSWD.",
    ),
    (
        "sudo_not_allowed",
        Kind::Upstream,
        "sudo at {at} does not let this user be root. Add the user to the group sudo, or log in as root.",
    ),
    (
        "sudo_no_terminal",
        Kind::Upstream,
        "sudo at {at} works at a terminal only (requiretty), and there is none here. Add “Defaults:USER !requiretty” for this user to a file in /etc/sudoers.d, or log in as root.",
    ),
    (
        "sudo_noexec",
        Kind::Upstream,
        "sudo at {at} starts a shell, but that may start no program (NOEXEC in sudoers). Allow this user EXEC, or log in as root.",
    ),
    (
        "sudo_absent",
        Kind::Upstream,
        "{at} has no sudo and the user is not root. Install sudo, or log in as root.",
    ),
    (
        "ssh_sessions_full",
        Kind::Busy,
        "As many terminals, followed logs or forwarded sockets are open to {at} as there may be. Close one.",
    ),
    (
        "forward_forbidden",
        Kind::Upstream,
        "{at} forbids forwarding. Set “AllowTcpForwarding yes” or “AllowStreamLocalForwarding yes” in its sshd_config, and take “restrict” and “no-port-forwarding” off this key.",
    ),
    (
        "forward_no_socket",
        Kind::Upstream,
        "{at} could not open the socket that was to be forwarded: nothing listens there, or this user may not use it.",
    ),
    (
        "forward_failed",
        Kind::Upstream,
        "The connection to {at} did not accept the request to forward a socket.",
    ),
    ("cancelled", Kind::Conflict, "This was cancelled at {at}."),
    (
        "deadline",
        Kind::Timeout,
        "The script at {at} did not finish in the time it had.",
    ),
];

/// The error of a code in the table; `seen` goes to the log.
pub(super) fn error(code: &'static str, target: &Target, seen: &str) -> Error {
    let at = format!("{}@{}:{}", target.user.as_str(), target.host.in_url(), target.port);
    at_error(code, &at, seen)
}

/// The same before a login.
pub(super) fn at_error(code: &'static str, at: &str, seen: &str) -> Error {
    let (_, kind, say) = TABLE.iter().find(|(c, ..)| *c == code).expect("a code of the table");
    Error::new(*kind, code, say.replace("{at}", at)).log(text::one_line(seen, 2_000))
}

/// Adds the message of a program as evidence.
pub(super) fn said<'a>(mut e: Error, who: &str, lines: impl Iterator<Item = &'a str>) -> Error {
    let telling = text::telling(lines);
    if !telling.is_empty() {
        let words = text::one_line(&telling.join(" / "), 400);
        e.say.push_str(&format!(" {who} said: “{words}”."));
    }
    e
}

/// Error: the login worked, and then the shell ended without our command. `lines`: its output.
pub(super) fn no_shell(target: &Target, status: Option<i32>, lines: &[&str], seen: &str) -> Error {
    let has = |words: &[&str]| lines.iter().any(|line| words.iter().any(|w| line.contains(w)));
    let code = if has(EXPIRED) {
        "ssh_password_expired"
    } else if has(&["Please login as the user"]) {
        "ssh_other_user"
    } else {
        "ssh_no_shell"
    };
    let mut e = error(code, target, seen);
    if let Some(status) = status.filter(|_| code == "ssh_no_shell") {
        e.say.push_str(&format!(" It ended with code {status}."));
    }
    said(e, "The server", lines.iter().copied())
}

/// Messages of sshd, PAM and sudo for an expired password.
const EXPIRED: &[&str] = &[
    "Password change required",
    "assword has expired",
    "required to change your password",
    "password is expired",
];

/// Error: a script was ended early (`cancelled`, `deadline`); says whether the server confirmed its end.
pub(super) fn broken_off(code: &'static str, target: &Target, confirmed: bool) -> Error {
    let mut e = error(code, target, "");
    e.say.push_str(match confirmed {
        true => " All that ran there has ended.",
        false => {
            " The server could not be notified; it ends the script when it notices, at its deadline at the latest."
        }
    });
    e
}

/// A missing local program as an error of this table; other errors unchanged.
pub(super) fn ours(e: Error) -> Error {
    match e.code {
        "missing_program" => at_error("ssh_missing_program", "", &e.say),
        _ => e,
    }
}

/// Is the error temporary? Not if a key, password or permission must change first.
pub fn may_pass(e: &Error) -> bool {
    [
        "ssh_refused",
        "ssh_no_route",
        "ssh_timeout",
        "ssh_login_slow",
        "ssh_shell_silent",
        "ssh_silent",
        "ssh_closed",
        "ssh_link_lost",
        "ssh_failed",
        "ssh_name_unknown",
        "name_slow",
        "busy",
    ]
    .contains(&e.code)
}

/// The last refusal of a forwarded connection in the master's log.
pub(super) fn forward_refused(log: &str) -> Option<&str> {
    log.lines().rfind(|line| line.contains("open failed: "))
}

/// Why a server did not open a forwarded connection; `line` of the master's log.
pub(super) fn forward(target: &Target, forbidden: bool, line: &str) -> Error {
    let code = if forbidden {
        "forward_forbidden"
    } else {
        "forward_no_socket"
    };
    said(error(code, target, line), "ssh", [line].into_iter())
}

/// Why a login failed, by ssh's messages; `seen` goes to the log. The table is ordered from specific to general.
pub(super) fn login(target: &Target, said: &str, seen: &str) -> Error {
    let has = |words: &[&str]| words.iter().any(|w| said.contains(w));
    let code = if has(&[
        "HOST IDENTIFICATION HAS CHANGED",
        "host key is known for",
        "no matching host key type",
        "Host key verification failed",
    ]) {
        "ssh_host_key_changed"
    } else if has(&["Could not resolve hostname"]) {
        "ssh_name_unknown"
    } else if has(&["during banner exchange"]) {
        "ssh_silent"
    } else if has(&["Connection refused"]) {
        "ssh_refused"
    } else if has(&["No route to host", "Network is unreachable", "Host is down"]) {
        "ssh_no_route"
    } else if has(&["Permission denied (", "Too many authentication failures"]) {
        match &target.auth {
            Auth::Password(_) if !has(&["password", "keyboard-interactive"]) => "ssh_password_off",
            Auth::Password(_) => "ssh_wrong_password",
            Auth::Key { .. } if has(&["Load key "]) => "ssh_key_unreadable",
            Auth::Key { .. } => "ssh_key_refused",
        }
    } else if has(&["Connection timed out", "Operation timed out", "Timeout, server"]) {
        "ssh_timeout"
    } else if has(&["Unable to negotiate"]) {
        "ssh_too_old"
    } else if has(&[
        "Connection closed",
        "Connection reset",
        "kex_exchange_identification",
        "Broken pipe",
    ]) {
        "ssh_closed"
    } else {
        "ssh_failed"
    };
    let e = error(code, target, seen);
    match code {
        // ssh's messages about host keys are long texts for a terminal.
        "ssh_host_key_changed" => e,
        _ => self::said(e, "ssh", said.lines()),
    }
}

/// Why sudo failed, by its messages (in `LC_ALL=C`) and exit code; `otherwise` if they are unknown.
pub(super) fn sudo<'a>(
    target: &Target,
    otherwise: &'static str,
    status: &str,
    lines: impl Iterator<Item = &'a str> + Clone,
) -> Error {
    let has = |words: &[&str]| lines.clone().any(|line| words.iter().any(|w| line.contains(w)));
    let code = if status == "126" {
        "sudo_noexec"
    } else if has(&["have a tty"]) {
        "sudo_no_terminal"
    } else if has(EXPIRED) {
        "ssh_password_expired"
    } else if has(&[
        "sudoers",
        "may not run sudo",
        "not allowed to",
        "afraid I can't do that",
    ]) {
        "sudo_not_allowed"
    } else {
        otherwise
    };
    let seen: Vec<&str> = lines.clone().collect();
    said(error(code, target, &seen.join(" / ")), "The server", lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_once_and_has_a_sentence() {
        for (i, (code, _, say)) in TABLE.iter().enumerate() {
            assert!(TABLE[i + 1..].iter().all(|(other, ..)| other != code), "{code}");
            assert!(say.ends_with('.') && say.len() > 20, "{code}");
        }
    }
}
