//! One account on one host, and the two values that may be good there. Everything here looks or changes on the host and
//! stores nothing.

use super::Good;
use crate::app::App;
use crate::base::clock::Duration;
use crate::base::error::{Error, Kind, Result};
use crate::base::host::UserName;
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::base::{shell, text};
use crate::features::fleet::servers::ServerConnection;
use crate::ssh::{Auth, Job, Stream, Target};
use std::collections::HashMap;

const LOOK: &str = include_str!("look.sh");
const SET_PASSWORD: &str = include_str!("set_password.sh");
const CHECK_PASSWORD: &str = include_str!("check_password.sh");
/// Adds and removes lines of an `authorized_keys`: by `ACCOUNT`, `ADD`, `LIKE`, `DROP`.
pub const KEYS: &str = include_str!("keys.sh");
/// Limit of each step on the host.
const LIMIT: Duration = Duration::from_secs(60);

/// A value with what belongs to it.
#[derive(Clone)]
pub struct Credential {
    pub value: Secret,
    pub passphrase: Option<Secret>,
    /// Of a key: its line.
    pub public_key: String,
}

/// An account on a host.
pub struct Account<'a> {
    pub app: &'a App,
    pub connection: ServerConnection,
    pub name: String,
    pub is_key: bool,
    pub old: &'a Credential,
    pub new: &'a Credential,
    pub cancel: &'a Cancel,
}

/// Refusals that stand in the way before anything is touched: code, sentence.
const REFUSALS: &[(&str, &str)] = &[
    ("no_account", "There is no account {account} on {server}."),
    (
        "not_local",
        "The account {account} is not one of {server} itself, but of a directory (LDAP, SSSD): its password is changed there.",
    ),
    ("no_chpasswd", "{server} has no chpasswd. Install the package passwd."),
    (
        "account_locked",
        "The account {account} is locked on {server} (passwd -l). Another password would unlock it: unlock it by hand first, or leave the server out.",
    ),
    (
        "account_expired",
        "The account {account} has expired on {server} (chage -E). Renew it there first.",
    ),
    (
        "etc_not_writable",
        "/etc cannot be written on {server}: the file system is read-only or full.",
    ),
];

fn parse_user(name: &str) -> Result<UserName> {
    UserName::parse(name).map_err(Error::internal)
}

/// Did the host say no to the credential itself, so that it is not good there?
fn is_refusal(e: &Error) -> bool {
    [
        "ssh_wrong_password",
        "ssh_key_refused",
        "sudo_password_wrong",
        "not_this_password",
    ]
    .contains(&e.code)
}

impl Account<'_> {
    fn is_login(&self) -> bool {
        self.name == self.connection.target().user.as_str()
    }

    fn logs_in_by_password(&self) -> bool {
        matches!(self.connection.target().auth, Auth::Password(_))
    }

    /// The server's own login, as it is with this value.
    fn own_login(&self, with: &Credential) -> Target {
        let mut target = self.connection.target().clone();
        match (self.is_login(), self.is_key) {
            (false, _) => {}
            (true, false) => {
                if self.logs_in_by_password() {
                    target.auth = Auth::Password(with.value.clone());
                }
                target.sudo_password = Some(with.value.clone());
            }
            (true, true) => {
                if !self.logs_in_by_password() {
                    target.auth = key(with);
                }
            }
        }
        target
    }

    /// A login as this account with this value.
    fn login(&self, with: &Credential) -> Result<Target> {
        let mut target = self.own_login(with);
        target.user = parse_user(&self.name)?;
        target.auth = if self.is_key {
            key(with)
        } else {
            Auth::Password(with.value.clone())
        };
        Ok(target)
    }

    fn error(&self, code: &'static str, say: &str) -> Error {
        let say = say
            .replace("{account}", &self.name)
            .replace("{server}", &self.connection.server.fields.name);
        Error::new(Kind::Upstream, code, say)
    }

    fn run(&self, target: &Target, values: &[(&'static str, &str)], script: &str, root: bool) -> Result<(i32, String)> {
        let script = shell::assignments(values)? + script;
        let mut out = String::new();
        let job = Job {
            script: &script,
            root,
            deadline: LIMIT,
        };
        let done = self
            .app
            .ssh
            .run(target, &job, self.cancel, &mut |_, line| out.extend([line, "\n"]));
        let done = self.connection.record_host_key_change(self.app, self.cancel, done)?;
        Ok((done.rc, out))
    }

    /// What stands in the way, by the login that works now.
    fn look(&self, now: &Credential) -> Result<()> {
        let (_, out) = self.run(&self.own_login(now), &[("ACCOUNT", &self.name)], LOOK, true)?;
        let said: HashMap<&str, &str> = out.lines().filter_map(|line| line.split_once('=')).collect();
        let code = said.get("code").copied().unwrap_or_default();
        if let Some((code, say)) = REFUSALS.iter().find(|(known, _)| *known == code) {
            let mut e = self.error(code, say);
            if let Some(why) = said.get("why") {
                e.say.push_str(&format!(" It said: “{}”.", text::one_line(why, 300)));
            }
            return Err(e);
        }
        if code != "ok" {
            return Err(self.error(
                "look_failed",
                "The account {account} could not be looked at on {server}.",
            ));
        }
        Ok(())
    }

    /// Before anything is touched: is the old value what is good there, and does nothing stand in the way?
    pub fn prepare(&self) -> Result<()> {
        if self.is_key {
            if self.is_login() && !self.logs_in_by_password() {
                self.try_it(self.old)?;
            }
            return Ok(());
        }
        self.look(self.old)?;
        match self.try_it(self.old) {
            // Whoever asks for a first password of another account does not say the one before.
            Err(e) if is_refusal(&e) && !self.is_login() => Ok(()),
            tried => tried,
        }
    }

    /// Puts the new value there. The old one of a key stays beside it; that of a password is gone.
    pub fn set(&self) -> Result<()> {
        if self.is_key {
            return self
                .keys(self.old, (&self.new.public_key, &self.old.public_key, ""))
                .map(drop);
        }
        self.set_password(self.old, self.new)
    }

    /// Puts the old password back, by the connection that is still open with it; sudo wants the new one already.
    pub fn put_back(&self) -> Result<()> {
        if self.is_key {
            return self.keys(self.old, ("", "", &self.new.public_key)).map(drop);
        }
        let mut target = self.own_login(self.old);
        if self.is_login() {
            target.sudo_password = Some(self.new.value.clone());
        }
        self.password(&target, self.old)
    }

    fn set_password(&self, by: &Credential, to: &Credential) -> Result<()> {
        self.password(&self.own_login(by), to)
    }

    fn password(&self, target: &Target, to: &Credential) -> Result<()> {
        let value = to.value.reveal_text_for("chpasswd's stdin");
        let (rc, out) = self.run(target, &[("ACCOUNT", &self.name), ("VALUE", value)], SET_PASSWORD, true)?;
        if rc == 0 {
            return Ok(());
        }
        let why = match out.as_str() {
            out if out.contains("BAD PASSWORD") || out.contains("maximum number of retries") => {
                "The rules for passwords on {server} (pwquality) do not take the new one."
            }
            out if out.contains("Read-only") || out.contains("No space") || out.contains("cannot open") => {
                "The password file of {server} cannot be written: the file system is read-only or full."
            }
            out if out.contains("lock") => "Another program holds the password file of {server}.",
            _ => "PAM on {server} refused the new password of {account}.",
        };
        let mut e = self.error("password_refused", why);
        let out = out.replace(value, "•••");
        e.say
            .push_str(&format!(" chpasswd said: “{}”.", text::one_line(&out, 300)));
        Err(e)
    }

    /// Adds a key, with the options of another one, and takes one away. Did it change anything?
    fn keys(&self, by: &Credential, (add, like, drop): (&str, &str, &str)) -> Result<bool> {
        let values = [("ACCOUNT", &*self.name), ("ADD", add), ("LIKE", like), ("DROP", drop)];
        let (rc, out) = self.run(&self.own_login(by), &values, KEYS, !self.is_login())?;
        match rc {
            0 => Ok(out.contains("changed")),
            rc => {
                let say = "The keys of {account} on {server} (authorized_keys) could not be changed.";
                let mut e = self.error("keys_not_written", say);
                let out = text::one_line(out.trim(), 300);
                e.say.push_str(&match out.is_empty() {
                    true => format!(" The code was {rc}."),
                    false => format!(" The server said: “{out}”."),
                });
                Err(e)
            }
        }
    }

    /// Is this value good there now? By a login of its own. Error: it is not, or nobody knows.
    pub fn try_it(&self, with: &Credential) -> Result<()> {
        let script = ":";
        let is_sudo = !self.is_key && self.is_login() && !self.logs_in_by_password();
        let job = |root| Job {
            script,
            root,
            deadline: LIMIT,
        };
        let mut quiet = |_: Stream, _: &str| {};
        if is_sudo {
            // With a key the password is sudo's alone; where sudo wants none, the shadow file tells.
            let done = self
                .app
                .ssh
                .prove(&self.own_login(with), &job(true), self.cancel, &mut quiet);
            let done = self.connection.record_host_key_change(self.app, self.cancel, done)?;
            if done.sudo == crate::ssh::Sudo::Password {
                return Ok(());
            }
            return self.check_shadow(with);
        }
        let done = self
            .app
            .ssh
            .prove(&self.login(with)?, &job(false), self.cancel, &mut quiet);
        match self.connection.record_host_key_change(self.app, self.cancel, done) {
            Err(e) if e.code == "ssh_password_off" && !self.is_login() => self.check_shadow(with),
            done => done.map(drop),
        }
    }

    fn check_shadow(&self, with: &Credential) -> Result<()> {
        let value = with.value.reveal_text_for("comparing it on the host");
        let values = [("ACCOUNT", &*self.name), ("VALUE", value)];
        match self.run(&self.own_login(with), &values, CHECK_PASSWORD, true)? {
            (0, _) => Ok(()),
            (1, _) => Err(self.error(
                "not_this_password",
                "This is not the password of {account} on {server}.",
            )),
            (_, out) => {
                let mut e = self.error(
                    "look_failed",
                    "The password of {account} on {server} could not be compared.",
                );
                e.say
                    .push_str(&format!(" The server said: “{}”.", text::one_line(out.trim(), 200)));
                Err(e)
            }
        }
    }

    /// Which one is good there? The new one where both are. Error: the host does not answer.
    pub fn which(&self) -> Result<Good> {
        match self.try_it(self.new) {
            Ok(()) => return Ok(Good::New),
            Err(e) if is_refusal(&e) => {}
            Err(e) => return Err(e),
        }
        match self.try_it(self.old) {
            Ok(()) => Ok(Good::Old),
            Err(e) if is_refusal(&e) => Ok(Good::Unknown),
            Err(e) => Err(e),
        }
    }

    /// Takes the old value away, where it is not gone by itself, and shows once more that the new one is good.
    pub fn retire(&self) -> Result<()> {
        if !self.is_key || self.old.public_key == self.new.public_key {
            return Ok(());
        }
        self.keys(self.new, ("", "", &self.old.public_key))?;
        self.try_it(self.new)
    }
}

fn key(with: &Credential) -> Auth {
    Auth::Key {
        pem: with.value.clone(),
        passphrase: with.passphrase.clone(),
    }
}
