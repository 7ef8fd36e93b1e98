//! The tasks of a rotation. Each is safe to run again: it goes on where the rows say it is.

use super::account::{Account, Credential};
use super::queries;
use super::{Good, Host, Rotation, Step, plan};
use crate::access::Allowed;
use crate::access::right::{Edit, Secrets, may};
use crate::app::App;
use crate::base::clock::{self, MINUTE, Ms};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::process::Cancel;
use crate::db::Tx;
use crate::features::fleet::servers::ServerConnection;
use crate::features::house::secrets::{self, ROTATION_FAILED, Secret, Value};
use crate::schedule::fan_out::FanOut;
use crate::ssh::error::may_pass;
use crate::task::log::Log;
use crate::task::worker::Run;
use crate::task::{ByClock, Class, Kind, Outcome, Tries};
use crate::vault::reference::{CANDIDATE, CANDIDATE_PASSPHRASE};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Kind: another value here.
pub const ROTATE: &str = "rotations.rotate";
/// Kind: another value here and on its hosts.
pub const APPLY: &str = "rotations.apply";
/// Kind: finds out what is good where a rotation was cut off, and ends what can be ended.
pub const SETTLE: &str = "rotations.settle";

/// All kinds.
pub const TASKS: &[Kind] = &[
    Kind {
        name: ROTATE,
        idempotent: false,
        class: Class::Quick,
        deadline: Duration::from_secs(60),
        tries: Tries::ONCE,
        locks: Kind::TARGET_ONLY,
        by_clock: Some(BY_CLOCK),
        run: rotate,
    },
    Kind {
        name: APPLY,
        idempotent: true,
        class: Class::Standard,
        deadline: Duration::from_secs(2 * 3_600),
        tries: Tries::ONCE,
        locks: plan::locks,
        by_clock: Some(BY_CLOCK),
        run: |run| go_on(run, true),
    },
    Kind {
        name: SETTLE,
        idempotent: true,
        class: Class::Standard,
        deadline: Duration::from_secs(30 * 60),
        tries: Tries::ONCE,
        locks: plan::locks,
        by_clock: None,
        run: |run| go_on(run, false),
    },
];

const BY_CLOCK: ByClock = ByClock {
    target: "secret",
    right: may(Edit, Secrets),
};

/// Hosts at the same time.
const WIDTH: usize = 8;
/// A host that refuses both values is asked again after this: its faillock counts our tries.
const REFUSED_PAUSE: Ms = 20 * MINUTE;

fn by() -> Allowed<'static, Edit, Secrets> {
    Allowed::by_daemon()
}

/// Another value of the same make, where no host has it.
fn rotate(run: &Run) -> Result<Outcome> {
    let id = Id::new(run.target());
    run.app.db.write(|tx| {
        let secret = secrets::get(tx, id)?;
        let value = secrets::another(&secret.fields.kind, &secrets::current(run.app, tx, &secret)?.0)?;
        secrets::refuse_made_here(run.app, tx, id)?;
        secrets::rotate(run.app, tx, id, &value, by())
    })?;
    run.log.say("There is another value.");
    Ok(Outcome {
        changed: 1,
        commit: None,
    })
}

/// What a task works with.
struct Work<'a> {
    app: &'a App,
    log: &'a Log,
    cancel: &'a Cancel,
    rotation: Rotation,
    is_key: bool,
    old: Credential,
    new: Credential,
}

fn load<'a>(run: &'a Run, rotation: Rotation, secret: &Secret) -> Result<Work<'a>> {
    let app = run.app;
    app.db.read(|conn| {
        let (value, passphrase) = secrets::current(app, conn, secret)?;
        let old = Credential {
            value,
            passphrase,
            public_key: secret.public_key.clone(),
        };
        let (value, passphrase) =
            queries::values(conn, rotation.id)?.ok_or_else(|| Error::internal("a rotation without a value"))?;
        let open = |p: Vec<u8>| app.vault.open_sealed(CANDIDATE_PASSPHRASE.at(rotation.id), &p);
        let new = Credential {
            value: app.vault.open_sealed(CANDIDATE.at(rotation.id), &value)?,
            passphrase: passphrase.map(open).transpose()?,
            public_key: rotation.public_key.clone(),
        };
        for one in [&old, &new] {
            run.log.hide(&one.value);
            one.passphrase.iter().for_each(|p| run.log.hide(p));
        }
        Ok(Work {
            app,
            log: run.log,
            cancel: run.cancel,
            is_key: secret.fields.kind == "private_key",
            rotation,
            old,
            new,
        })
    })
}

/// Brings a rotation as far as it goes. `forward`: also to the hosts that were not touched yet.
fn go_on(run: &Run, forward: bool) -> Result<Outcome> {
    let (app, id) = (run.app, Id::<id::Secret>::new(run.target()));
    let secret = app.db.read(|conn| secrets::get(conn, id))?;
    let open = app.db.write(|tx| match queries::open(tx, id)? {
        Some(open) => {
            queries::forget_gone(tx, open.id)?;
            Ok(Some(open))
        }
        // Put in by the clock.
        None if forward && run.task.attempt <= 1 => {
            let before = queries::hosts_before(tx, id)?;
            plan::begin(app, tx, &secret, None, &before, &run.task.created_by).map(Some)
        }
        None => Ok(None),
    })?;
    let Some(rotation) = open else {
        return Ok(Outcome {
            changed: 0,
            commit: None,
        });
    };
    let work = load(run, rotation, &secret)?;
    let done = work.all(forward);
    let ended = app.db.write(|tx| work.end(tx, &secret, done.as_ref().err()));
    let changed = done?;
    ended?;
    Ok(Outcome { changed, commit: None })
}

impl Work<'_> {
    /// Works on all hosts; how many have the new value since. Error: the first that failed.
    fn all(&self, forward: bool) -> Result<u32> {
        let hosts = self.app.db.read(|conn| queries::hosts(conn, self.rotation.id))?;
        let wanted = |h: &Host| match forward {
            true => h.step != Step::Done,
            false => matches!(h.step, Step::Setting | Step::Proved) || h.good == Good::Unknown,
        };
        let (begun, fresh): (Vec<_>, Vec<_>) = hosts
            .into_iter()
            .filter(wanted)
            .partition(|h| matches!(h.step, Step::Setting | Step::Proved) || h.good == Good::Unknown);
        let changed = AtomicU32::new(0);
        let red = AtomicBool::new(false);
        // What was cut off comes first: there somebody may be locked out.
        self.some(&begun, &changed, &red, forward)?;
        let any_good = !begun.is_empty() && forward;
        let alone = usize::from(!any_good).min(fresh.len());
        self.some(&fresh[..alone], &changed, &red, forward)?;
        self.some(&fresh[alone..], &changed, &red, forward)?;
        Ok(changed.into_inner())
    }

    fn some(&self, hosts: &[Host], changed: &AtomicU32, red: &AtomicBool, forward: bool) -> Result<()> {
        let fan_out = FanOut {
            name: "rotations.apply",
            width: WIDTH,
            begin_until: None,
            cancel: self.cancel,
        };
        let done = fan_out.run(hosts, |host| {
            if red.load(Ordering::SeqCst) || self.cancel.is_cancelled() {
                return Ok(());
            }
            let one = self.one(host.clone(), forward);
            match &one {
                Ok(true) => drop(changed.fetch_add(1, Ordering::SeqCst)),
                Ok(false) => {}
                Err(_) => red.store(true, Ordering::SeqCst),
            }
            one.map(drop)
        });
        if self.cancel.is_cancelled() && done.iter().flatten().all(|one| one.is_ok()) {
            return Err(crate::base::process::cancelled());
        }
        done.into_iter().flatten().collect()
    }

    fn keep(&self, host: &mut Host, step: Step, good: Good) -> Result<()> {
        (host.step, host.good, host.at) = (step, good, clock::now());
        self.app
            .db
            .write_reserved(|tx| queries::set_host(tx, self.rotation.id, host))
    }

    fn say(&self, host: &Host, line: &str) {
        self.log.say(&format!("{} ({}): {line}", host.name, host.account));
    }

    /// Brings one host on. Did it get the new value?
    fn one(&self, mut host: Host, forward: bool) -> Result<bool> {
        let done = self.steps(&mut host, forward);
        if let Err(e) = &done {
            (host.code, host.say) = (e.code.into(), e.say.clone());
            if host.good == Good::Unknown {
                host.next_try = clock::now() + REFUSED_PAUSE;
            }
            let (step, good) = (host.step, host.good);
            self.keep(&mut host, step, good)?;
            self.log.line(
                "error",
                "task",
                "",
                &format!("{} ({}): {}", host.name, host.account, e.say),
            );
        }
        done
    }

    fn steps(&self, host: &mut Host, forward: bool) -> Result<bool> {
        let account = Account {
            app: self.app,
            connection: ServerConnection::of(self.app, host.server)?,
            name: host.account.clone(),
            is_key: self.is_key,
            old: &self.old,
            new: &self.new,
            cancel: self.cancel,
        };
        (host.code, host.say) = (String::new(), String::new());
        if host.step == Step::Setting || host.good == Good::Unknown {
            self.find_out(host, &account)?;
        }
        if matches!(host.step, Step::Waiting | Step::Failed) {
            if !forward {
                return Ok(false);
            }
            self.set(host, &account)?;
        }
        if host.step == Step::Proved {
            account.retire()?;
            self.keep(host, Step::Done, Good::New)?;
            self.app.ssh.forget(host.server.get());
            self.say(host, "the new one is proved, the old one is gone.");
            return Ok(true);
        }
        Ok(false)
    }

    /// It was cut off in the middle: which one is good?
    fn find_out(&self, host: &mut Host, account: &Account) -> Result<()> {
        match account.which()? {
            Good::New => {
                self.say(host, "it was cut off after the new one was set: that one is good.");
                self.keep(host, Step::Proved, Good::New)?;
                self.app.ssh.forget(host.server.get());
                Ok(())
            }
            Good::Old => {
                self.say(host, "it was cut off before the new one was set: the old one is good.");
                self.keep(host, Step::Failed, Good::Old)
            }
            Good::Unknown => {
                self.keep(host, Step::Setting, Good::Unknown)?;
                Err(both_refused(host))
            }
        }
    }

    fn set(&self, host: &mut Host, account: &Account) -> Result<()> {
        if let Err(e) = account.prepare() {
            self.keep(host, Step::Failed, Good::Old)?;
            return Err(e);
        }
        self.keep(host, Step::Setting, Good::Old)?;
        let set = account.set();
        let proved = match &set {
            Ok(()) => account.try_it(&self.new),
            Err(e) => Err(e.clone()),
        };
        let Err(e) = proved else {
            self.say(host, "the new one is set, and lets in by a login of its own.");
            return self.keep(host, Step::Proved, Good::New);
        };
        // It did not go as it should: what is good now? Where the host cannot be asked, that stays open.
        if self.cancel.is_cancelled() || may_pass(&e) {
            return Err(e);
        }
        if set.is_ok() {
            account.put_back()?;
            self.say(host, "the new one did not let in: the old one was put back.");
        }
        match account.which()? {
            Good::New if set.is_err() => self.keep(host, Step::Proved, Good::New)?,
            Good::Unknown => {
                self.keep(host, Step::Setting, Good::Unknown)?;
                return Err(both_refused(host));
            }
            _ => self.keep(host, Step::Failed, Good::Old)?,
        }
        match host.step {
            Step::Proved => Ok(()),
            _ => Err(e),
        }
    }

    /// After the hosts: the new value is the secret's, or nothing came of it, or it stays open.
    fn end(&self, tx: &Tx, secret: &Secret, failed: Option<&Error>) -> Result<()> {
        let hosts = queries::hosts(tx, self.rotation.id)?;
        let is = |test: &dyn Fn(&Host) -> bool| hosts.iter().all(test);
        if is(&|h| h.step == Step::Done) {
            let origin = if self.rotation.origin == "given" {
                "given"
            } else {
                "generated"
            };
            let value = Value {
                value: self.new.value.clone(),
                passphrase: self.new.passphrase.clone(),
                public_key: self.new.public_key.clone(),
                origin,
            };
            queries::close(tx, self.rotation.id, "done", clock::now())?;
            secrets::set_next_try(tx, secret.id, 0)?;
            if hosts.is_empty() {
                return Ok(()); // all of them were deleted
            }
            return secrets::set_value(self.app, tx, secret.id, &value, by());
        }
        if is(&|h| h.good == Good::Old && matches!(h.step, Step::Waiting | Step::Failed)) {
            queries::close(tx, self.rotation.id, "dropped", clock::now())?;
        }
        let Some(e) = failed else { return Ok(()) };
        if e.code == "cancelled" {
            return Ok(());
        }
        let lines: Vec<String> = hosts
            .iter()
            .filter(|h| !h.say.is_empty())
            .map(|h| format!("{} ({}): {}", h.name, h.account, h.say))
            .take(10)
            .collect();
        secrets::emit(self.app, tx, ROTATION_FAILED, secret, &lines)
    }
}

fn both_refused(host: &Host) -> Error {
    let say = format!(
        "{} refuses the old and the new one for {}. Both are kept; it is tried again every {} minutes. Get in by another way and set one of them.",
        host.name,
        host.account,
        REFUSED_PAUSE / MINUTE
    );
    Error::new(crate::base::error::Kind::Upstream, "both_refused", say)
}
