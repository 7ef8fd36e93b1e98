//! `bundle-make`, `bundle-show`, `bundle-add` and `bundle-remove`: packages for servers without a way to a mirror.

use crate::access::Allowed;
use crate::access::right::{Edit, Servers};
use crate::audit;
use crate::base::clock::rfc3339;
use crate::base::error::{Error, Kind, Result};
use crate::base::process::Cancel;
use crate::cli::{Command, Flag, Invocation, print, remark, usage};
use crate::provision::bundle::make::{self, Wanted};
use crate::provision::bundle::{self, Manifest};
use serde_json::json;
use std::fs::File;
use std::path::Path;

const FILE: Flag = Flag {
    name: "file",
    value: "FILE",
    help: "The bundle.",
};
const SUITE: Flag = Flag {
    name: "suite",
    value: "NAME",
    help: "Codename of the servers' release, such as bookworm; of bundle-make the default is this machine's own.",
};
const ARCH: Flag = Flag {
    name: "arch",
    value: "NAME",
    help: "The servers' architecture, such as amd64; of bundle-make the default is this machine's own.",
};

/// See [`Command`].
pub const COMMANDS: &[Command] = &[
    Command {
        name: "bundle-make",
        help: "On a machine with a mirror: fetch what installations need into one file, for servers without one. Needs no root.",
        flags: &[
            Flag {
                name: "out",
                value: "FILE",
                help: "Write it there (never over an existing file).",
            },
            SUITE,
            ARCH,
            Flag {
                name: "source",
                value: "LINE",
                help: "As in sources.list: deb http://deb.debian.org/debian trixie main. May be given again; default: this machine's own.",
            },
        ],
        run: make,
    },
    Command {
        name: "bundle-show",
        help: "Check every byte of a bundle and tell what it holds; without --file: those that were added.",
        flags: &[FILE],
        run: show,
    },
    Command {
        name: "bundle-add",
        help: "Check a bundle and keep it for the servers of its release and architecture, in place of an earlier one.",
        flags: &[FILE],
        run: add,
    },
    Command {
        name: "bundle-remove",
        help: "Remove a bundle that was added.",
        flags: &[SUITE, ARCH],
        run: remove,
    },
];

fn make(asked: &Invocation) -> Result<u8> {
    let out = asked.flag("out").ok_or_else(|| usage("Say where to: --out FILE."))?;
    let wanted = Wanted {
        suite: asked.flag(SUITE.name),
        arch: asked.flag(ARCH.name),
        sources: asked.all("source"),
    };
    let made = make::make(Path::new(out), &wanted, &Cancel::new(), &mut |say| remark(say))?;
    told(asked, &made, &format!("{out} is written and on the disk."))
}

fn told(asked: &Invocation, manifest: &Manifest, say: &str) -> Result<u8> {
    if asked.json() {
        print(&serde_json::to_string(manifest).map_err(Error::internal)?);
        return Ok(0);
    }
    print(&format!("{say} {}", summary(manifest)));
    Ok(0)
}

fn summary(manifest: &Manifest) -> String {
    let absent = match manifest.absent.is_empty() {
        true => String::new(),
        false => format!(" This release does not have: {}.", manifest.absent.join(", ")),
    };
    format!(
        "{} {}, made {}: {} packages, {} kB.{absent}",
        manifest.suite,
        manifest.arch,
        rfc3339(manifest.made_at),
        manifest.files.len() - 1, // the first is their list
        manifest.size() / 1000
    )
}

/// The file of `--file`, opened before this process goes on as another user.
fn opened(asked: &Invocation) -> Result<(&str, File)> {
    let path = asked.flag(FILE.name).ok_or_else(|| usage("Say which: --file FILE."))?;
    let file = File::open(path)
        .map_err(|e| Error::new(Kind::NotFound, "bundle_file", format!("{path} cannot be read: {e}.")))?;
    Ok((path, file))
}

fn show(asked: &Invocation) -> Result<u8> {
    if asked.flag(FILE.name).is_some() {
        let (path, file) = opened(asked)?;
        return told(asked, &bundle::verify(path, file)?, "The bundle is whole.");
    }
    let config = asked.begin()?;
    let mut rows = Vec::new();
    for found in bundle::list(&config.data_dir)? {
        rows.push(found?.manifest);
    }
    if asked.json() {
        print(&serde_json::to_string(&rows).map_err(Error::internal)?);
    } else if rows.is_empty() {
        print("There is no bundle.");
    } else {
        rows.iter().for_each(|manifest| print(&summary(manifest)));
    }
    Ok(0)
}

fn add(asked: &Invocation) -> Result<u8> {
    let (path, file) = opened(asked)?;
    let app = asked.open()?;
    let manifest = bundle::add(&app.config.data_dir, path, file)?;
    let by = Allowed::<Edit, Servers>::by_cli();
    app.db.write(|tx| {
        let detail = json!({ "suite": manifest.suite, "arch": manifest.arch, "made_at": rfc3339(manifest.made_at) });
        audit::append(tx, &app.vault, by, "bundle.add", "bundle", &detail)
    })?;
    told(asked, &manifest, "The bundle is whole and was added.")
}

fn remove(asked: &Invocation) -> Result<u8> {
    let need = |flag: &Flag| {
        (asked.flag(flag.name)).ok_or_else(|| usage("Say which: --suite NAME --arch NAME, as bundle-show tells them."))
    };
    let (suite, arch) = (need(&SUITE)?, need(&ARCH)?);
    let app = asked.open()?;
    if !bundle::remove(&app.config.data_dir, suite, arch)? {
        let say = format!("There is no bundle for {suite} on {arch}.");
        return Err(Error::new(Kind::NotFound, "no_bundle", say));
    }
    let by = Allowed::<Edit, Servers>::by_cli();
    app.db.write(|tx| {
        let detail = json!({ "suite": suite, "arch": arch });
        audit::append(tx, &app.vault, by, "bundle.remove", "bundle", &detail)
    })?;
    asked.done(&format!("The bundle for {suite} on {arch} is removed."))
}
