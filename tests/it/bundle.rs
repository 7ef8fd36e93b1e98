//! Bundles of packages without a server: what is taken for one, what is kept, what is said about it. How one is made and
//! used: `tests/lab/airgap.rs`.

use crate::common::*;
use lamplighter::base::tar::{self, Entry};
use lamplighter::base::text;
use lamplighter::provision::bundle::{self, Bundle};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;

fn sha256(bytes: &[u8]) -> String {
    text::hex(&text::sha256(bytes))
}

/// The members of a bundle with two packages, in order.
struct Made {
    manifest: Value,
    files: Vec<(String, Vec<u8>)>,
}

impl Made {
    fn new() -> Made {
        let debs = [
            ("nginx_1.22.1-9_amd64.deb", b"not really nginx".to_vec()),
            ("libc6_2.36-9_amd64.deb", vec![7; 70_000]),
        ];
        let mut index = String::new();
        for (name, bytes) in &debs {
            let words: Vec<&str> = name.split('_').collect();
            index.push_str(&format!(
                "Package: {}\nVersion: 1:{}\nArchitecture: amd64\nDepends: x,\n y\nFilename: ./{name}\nSize: {}\nSHA256: {}\n\n",
                words[0],
                words[1],
                bytes.len(),
                sha256(bytes)
            ));
        }
        let mut files = vec![("Packages".to_string(), index.into_bytes())];
        files.extend(debs.map(|(name, bytes)| (name.to_string(), bytes)));
        let rows: Vec<Value> = (files.iter())
            .map(|(name, bytes)| json!({ "name": name, "size": bytes.len(), "sha256": sha256(bytes) }))
            .collect();
        Made {
            manifest: json!({ "suite": "bookworm", "arch": "amd64", "made_at": 1_700_000_000_000_i64, "absent": [], "files": rows }),
            files,
        }
    }

    /// What the manifest says of its files is so again.
    fn told(mut self) -> Made {
        for (row, (name, bytes)) in self.manifest["files"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .zip(&self.files)
        {
            *row = json!({ "name": name, "size": bytes.len(), "sha256": sha256(bytes) });
        }
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let manifest = self.manifest.to_string().into_bytes();
        let all = [("manifest.json".to_string(), manifest)];
        for (name, bytes) in all.iter().chain(&self.files) {
            let entry = Entry {
                name: name.clone(),
                size: bytes.len() as u64,
            };
            tar::head(&mut out, &entry, 0).unwrap();
            tar::content(&mut out, &mut &bytes[..], entry.size).unwrap();
        }
        tar::end(&mut out).unwrap();
        out
    }
}

fn refused(bytes: &[u8]) -> String {
    let e = bundle::verify("it", bytes).expect_err("this is no bundle");
    assert_eq!(e.code, "bundle_unusable");
    e.say
}

#[test]
fn only_what_is_whole_and_told_is_a_bundle() {
    let good = Made::new();
    assert_eq!(bundle::verify("it", &good.bytes()[..]).unwrap().suite, "bookworm");

    let bytes = good.bytes();
    for cut in [0, 1, 511, 512, 4_000, bytes.len() / 2, bytes.len() - 1_024] {
        refused(&bytes[..cut]);
    }
    // One bit anywhere in it.
    for at in (0..bytes.len() - 1_024).step_by(97) {
        let mut other = bytes.clone();
        other[at] ^= 4;
        if bundle::verify("it", &other[..]).is_ok() {
            // Only the padding behind a file means nothing.
            assert_eq!(bytes[at], 0, "a changed byte at {at} was not seen");
        }
    }

    let change = |how: &dyn Fn(&mut Made)| {
        let mut made = Made::new();
        how(&mut made);
        refused(&made.bytes())
    };
    assert!(change(&|m| m.files[1].1[0] ^= 1).contains("not as it was written"));
    assert!(change(&|m| m.files.swap(1, 2)).contains("missing"));
    assert!(change(&|m| m.files.truncate(2)).contains("missing"));
    assert!(change(&|m| m.files.push(("more.deb".into(), vec![]))).contains("more than"));
    for (key, value) in [
        ("suite", json!("../../etc")),
        ("suite", json!("")),
        ("arch", json!("amd64/..")),
        ("arch", json!("-o")),
        ("files", json!([])),
        ("more", json!(1)),
    ] {
        change(&|m| m.manifest[key] = value.clone());
    }
    // A file in another folder, a hidden one, one with a word for a shell.
    for name in [
        "../nginx.deb",
        "/etc/cron.d/x",
        ".hidden.deb",
        "a b.deb",
        "$(reboot).deb",
        "--option",
    ] {
        change(&|m| {
            m.files[1].0 = name.into();
            m.manifest["files"][1]["name"] = json!(name);
        });
    }
    // Sizes that no machine has, and that do not add up to a number.
    for size in [u64::MAX, u64::MAX / 2 + 1, (1 << 30) + 1] {
        change(&|m| {
            m.manifest["files"][1]["size"] = json!(size);
            m.manifest["files"][2]["size"] = json!(size);
        });
    }
    // The list of packages must name these files and no others, by these hashes.
    let relisted = |from: &str, to: &str| {
        let mut made = Made::new();
        let index = String::from_utf8(made.files[0].1.clone()).unwrap();
        assert!(index.contains(from));
        made.files[0].1 = index.replacen(from, to, 1).into_bytes();
        refused(&made.told().bytes())
    };
    assert!(relisted("./nginx_", "./../nginx_").contains("not in it"));
    assert!(relisted("./nginx_", "./libc6_2.36-9_amd64.deb\nX: ").contains("does not fit"));
    assert!(relisted("Depends: ", "Filename: ./x\nDepends: ").contains("twice"));
    assert!(relisted("SHA256: ", "SHA256: 0").contains("does not fit"));
    assert!(relisted("nginx\nVersion: 1:1.22.1-9", "libc6\nVersion: 1:2.36-9").contains("does not"));
}

fn ask(house: &House, args: &[&str]) -> Output {
    run(&[args, &["--data-dir", house.dir()]].concat())
}

/// A bundle for bookworm on amd64.
pub fn small(folder: &Folder) -> PathBuf {
    written(folder, &Made::new())
}

fn written(folder: &Folder, made: &Made) -> PathBuf {
    folder.file("made.bundle", made.bytes())
}

#[test]
fn a_bundle_is_kept_for_its_release_and_architecture() {
    let house = House::new();
    let folder = Folder::new();
    let file = small(&folder);
    let file = file.to_str().unwrap();
    let kept = house.folder.path().join("bundles/bookworm-amd64.bundle");

    let shown = said(&ask(&house, &["bundle", "show", "--file", file]));
    assert!(
        shown.contains("The bundle is whole. bookworm amd64, made 2023-11-14T22:13:20.000Z: 2 packages, 70 kB."),
        "{shown}"
    );
    assert!(said(&ask(&house, &["bundle", "show"])).contains("There is no bundle."));
    let added = ask(&house, &["bundle", "add", "--file", file]);
    assert!(added.status.success(), "{}", said(&added));
    assert_eq!(fs::read(&kept).unwrap().len() % 512, 0);
    assert!(said(&ask(&house, &["bundle", "show"])).contains("bookworm amd64"));
    let found = Bundle::fitting(house.folder.path(), "bookworm", "amd64").unwrap();
    assert_eq!(found.version("nginx"), Some("1:1.22.1-9"));
    assert_eq!(found.version("glances"), None);
    for (suite, arch) in [
        ("trixie", "amd64"),
        ("bookworm", "arm64"),
        ("../bundles/bookworm", "amd64"),
        ("", ""),
    ] {
        let none = Bundle::fitting(house.folder.path(), suite, arch).expect_err("another server");
        assert_eq!(none.code, "no_bundle");
    }

    // A damaged one replaces nothing, and leaves nothing behind.
    let before = fs::read(&kept).unwrap();
    let mut damaged = Made::new();
    damaged.files[2].1[9] = 0;
    let bad = written(&folder, &damaged);
    let refused = ask(&house, &["bundle", "add", "--file", bad.to_str().unwrap()]);
    assert!(
        !refused.status.success() && said(&refused).contains("not as it was written"),
        "{}",
        said(&refused)
    );
    assert_eq!(fs::read(&kept).unwrap(), before);
    assert_eq!(entries(kept.parent().unwrap()), ["bookworm-amd64.bundle"]);

    let gone = |ok: bool| {
        let out = ask(&house, &["bundle", "remove", "--suite", "bookworm", "--arch", "amd64"]);
        assert_eq!(out.status.success(), ok, "{}", said(&out));
    };
    gone(true);
    gone(false);
    assert_eq!(entries(kept.parent().unwrap()), Vec::<String>::new());
    let audit = house.admin().get("/api/audit?target=bundle").is(200).to_string();
    assert!(
        audit.contains("bundle.add") && audit.contains("bundle.remove"),
        "{audit}"
    );
}

fn entries(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_bundle_is_made_over_no_file_and_of_sources_that_are_some() {
    let folder = Folder::new();
    let out = folder.path().join("there.bundle");
    File::create(&out).unwrap();
    let make = |more: &[&str]| run(&[&["bundle", "make", "--out", out.to_str().unwrap()], more].concat());
    let refused = make(&[]);
    assert!(
        !refused.status.success() && said(&refused).contains("is there already"),
        "{}",
        said(&refused)
    );
    fs::remove_file(&out).unwrap();
    for (flags, why) in [
        (vec!["--suite", "sid"], "own sources are of"),
        (vec!["--suite", "../x"], "codename"),
        (vec!["--arch", "-o"], "codename"),
        (
            vec!["--suite", "sid", "--source", "http://example.org sid main"],
            "one line",
        ),
        (
            vec!["--suite", "sid", "--source", "deb http://x sid main\nAPT::x 1"],
            "one line",
        ),
    ] {
        let refused = make(&flags);
        assert!(
            !refused.status.success() && said(&refused).contains(why),
            "{flags:?}: {}",
            said(&refused)
        );
    }
    // An empty mirror on this disk: apt is asked, and says so.
    let empty = format!("deb [trusted=yes] file:{} ./", folder.path().display());
    let refused = make(&["--suite", "sid", "--source", &empty]);
    assert!(!refused.status.success(), "{}", said(&refused));
    assert_eq!(entries(folder.path()), Vec::<String>::new(), "nothing is left of a try");
}

#[test]
fn where_a_servers_packages_come_from_is_a_field_like_others() {
    let house = House::new();
    let admin = house.admin();
    let made = admin.post("/api/servers", &server("web", 22)).is(201);
    assert_eq!(made["packages"], "sources");
    let at = format!("/api/servers/{}", made["id"]);
    let changed = admin.patch(&at, &json!({ "packages": "bundle" })).is(200);
    assert_eq!(changed["packages"], "bundle");
    assert_eq!(
        admin.patch(&at, &json!({ "packages": "elsewhere" })).wrong_fields(),
        ["packages"]
    );
    let mut browser = house.browser_of_admin();
    assert!(
        browser
            .get(&format!("/servers/{}", made["id"]))
            .has("<dd>a bundle</dd>")
    );
    assert!(
        browser
            .get(&format!("/servers/{}/edit", made["id"]))
            .has("<option value=\"bundle\" selected>")
    );
}
