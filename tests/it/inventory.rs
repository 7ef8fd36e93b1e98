//! The fleet as an inventory: read in with a look before, and given to other programs.

use crate::common;

use common::*;
use serde_json::{Value, json};
use std::fs;

const SSH_CONFIG: &str = "\
Host web-1
    HostName 192.0.2.1
    Port 2222
Host web-2 behind
    HostName 192.0.2.2
Host behind
    ProxyJump gate
Host *
    User deploy
";

fn states(plan: &Value) -> Vec<String> {
    let rows = plan["items"].as_array().unwrap().iter();
    rows.map(|row| format!("{} {}", row["name"].as_str().unwrap(), row["state"].as_str().unwrap()))
        .collect()
}

#[test]
fn an_inventory_is_looked_at_and_then_read_in() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let mut old = server("old", 22);
    old["host"] = json!("192.0.2.2");
    admin.post("/api/servers", &old).is(201);
    let text = json!({ "text": SSH_CONFIG, "tags": ["imported"] });
    let plan = admin.post("/api/inventory/preview", &text).is(200);
    assert_eq!(states(&plan), ["web-1 new", "web-2 known", "behind wrong"]);
    assert_eq!((&plan["new"], &plan["created"]), (&json!(1), &json!([])));
    assert_eq!(admin.get("/api/servers").is(200)["total"], 1, "a look adds nothing");
    let done = admin.post("/api/inventory/import", &text).is(200);
    assert_eq!(done["created"].as_array().unwrap().len(), 1);
    let made = admin.get(&format!("/api/servers/{}", done["created"][0])).is(200);
    assert_eq!(
        (
            &made["name"],
            &made["host"],
            &made["ssh_port"],
            &made["username"],
            &made["tags"]
        ),
        (
            &json!("web-1"),
            &json!("192.0.2.1"),
            &json!(2222),
            &json!("deploy"),
            &json!(["imported"])
        )
    );
    // A second time there is nothing new.
    let again = admin.post("/api/inventory/import", &text).is(200);
    assert_eq!((&again["new"], &again["created"]), (&json!(0), &json!([])));
    let csv =
        "name,host,username,tags\na,192.0.2.11,root,x y\nb,192.0.2.12,root,\nB,192.0.2.13,root,\nc,no host,root,\n";
    let some = json!({ "text": csv, "names": ["b"] });
    let done = admin.post("/api/inventory/import", &some).is(200);
    assert_eq!(states(&done), ["a new", "b new", "B wrong", "c wrong"]);
    assert_eq!(done["created"].as_array().unwrap().len(), 1, "only the chosen one");
    let nothing = admin.post("/api/inventory/preview", &json!({ "text": "Host *\n" }));
    nothing.is(422);
    assert_eq!(nothing.wrong_fields(), ["text"]);
    let viewer = house.somebody("viewer");
    viewer.post("/api/inventory/preview", &text).fails(403, "forbidden");
}

#[test]
fn the_page_shows_what_would_be_added_first() {
    let house = House::with(Processes::ApiOnly, &[]);
    let mut browser = house.browser();
    browser.sign_in(ADMIN, &house.password);
    assert!(browser.get("/inventory").has("name=\"text\""));
    let looked = browser.post("/inventory", &[("text", SSH_CONFIG), ("format", "auto")]);
    assert!(looked.has("name=\"names\" value=\"web-1\" checked"), "{}", looked.body);
    assert!(looked.has("ProxyJump") && !looked.has("name=\"names\" value=\"behind\""));
    assert_eq!(house.admin().get("/api/servers").is(200)["total"], 0);
    // Why a host is left out is said in the reader's language.
    let mut reader = house.browser_of_admin();
    reader.post("/prefs", &[("lang", "ru"), ("back", "/")]);
    let ansible = "a ansible_user=root\nb ansible_connection=winrm\nc\nd ansible_user=root ansible_port=0\n";
    for (text, parts) in [
        (SSH_CONFIG, &["через другой узел"][..]),
        (
            ansible,
            &["не по ssh", "под каким именем входить", "Порт от 1 до 65535"],
        ),
    ] {
        let told = reader.post("/inventory", &[("text", text), ("format", "auto")]);
        let is_said = |part: &&str| told.has(part);
        assert!(
            parts.iter().all(is_said) && !told.has("It is") && !told.has("It does"),
            "{}",
            told.body
        );
    }
    let done = browser.post(
        "/inventory/import",
        &[("text", SSH_CONFIG), ("format", "auto"), ("names", "web-1")],
    );
    assert_eq!(done.status, 303);
    assert_eq!(house.admin().get("/api/servers").is(200)["total"], 1);
    let none = browser.post("/inventory/import", &[("text", SSH_CONFIG), ("format", "auto")]);
    assert_eq!(none.status, 200, "nothing is chosen, so it is shown again");
    let wrong = browser.post("/inventory", &[("text", "{"), ("format", "ansible")]);
    assert!(wrong.status == 422 && wrong.has("id=\"text-e\""));
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

fn fleet(admin: &Client) {
    for (name, host, port, tags) in [
        ("web-1", "192.0.2.1", 22, json!(["web", "{{ evil }}"])),
        ("web 2", "2001:db8::2", 2222, json!(["web"])),
        ("lone", "lone.example.org", 22, json!([])),
    ] {
        let mut wanted = server(name, port);
        (wanted["host"], wanted["tags"]) = (json!(host), tags);
        if name != "lone" {
            wanted["host_key"] = json!(KEY);
            wanted["environment"] = json!("prod");
        }
        admin.post("/api/servers", &wanted).is(201);
    }
    let rule = json!({ "field": "tags", "op": "contains", "value": "web" });
    admin
        .post("/api/groups", &json!({ "name": "front end", "rule": rule }))
        .is(201);
}

#[test]
fn ansible_ssh_and_prometheus_get_the_fleet() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    fleet(&admin);
    let list = admin.get("/api/inventory/ansible").is(200);
    assert_eq!(list["tag_web"], json!({ "hosts": ["web 2", "web-1"] }));
    assert_eq!(list["group_front_end"], list["tag_web"]);
    assert_eq!(list["env_prod"], list["tag_web"]);
    assert_eq!(list["ungrouped"], json!({ "hosts": ["lone"] }));
    assert!(
        list["all"]["children"]
            .as_array()
            .unwrap()
            .contains(&json!("ungrouped"))
    );
    let vars = &list["_meta"]["hostvars"]["web-1"];
    assert_eq!(
        (
            &vars["ansible_host"],
            &vars["ansible_port"],
            &vars["ansible_user"],
            &vars["lamplighter_tags"]
        ),
        (&json!("192.0.2.1"), &json!(22), &json!("root"), &json!(["web"])),
        "what Ansible would run stays here"
    );
    assert!(!list.to_string().contains("{{ evil") && !list.to_string().contains("some password"));
    let config = admin.get("/api/inventory/ssh-config").text();
    assert!(
        config.contains("Host web-1\n    HostName 192.0.2.1\n    Port 22\n    User root\n"),
        "{config}"
    );
    assert!(
        config.contains("Host web-2\n    HostName 2001:db8::2\n    Port 2222\n"),
        "{config}"
    );
    assert!(!config.contains("lone"), "no key of it was accepted: {config}");
    let known = admin.get("/api/inventory/known-hosts").text();
    assert!(known.contains(&format!(",192.0.2.1 {KEY}\n")), "{known}");
    assert!(known.contains(&format!(",[2001:db8::2]:2222 {KEY}\n")), "{known}");
    let targets = admin.get("/api/inventory/prometheus-sd?tag=web&port=9101").is(200);
    let hosts: Vec<_> = targets
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["targets"][0].as_str().unwrap())
        .collect();
    assert_eq!(hosts, ["[2001:db8::2]:9101", "192.0.2.1:9101"]);
    assert_eq!(targets[0]["labels"]["__meta_lamplighter_name"], "web 2");
    assert_eq!(targets[0]["labels"]["__meta_lamplighter_tags"], ",web,");
    admin.get("/api/inventory/prometheus-sd?port=0").is(422);
}

#[test]
fn the_command_line_reads_inventories_in_and_prints_them() {
    let house = House::new();
    let admin = house.admin();
    fleet(&admin);
    let of = |flags: &[&str]| {
        let out = run(&[&["inventory", "--data-dir", house.dir()], flags].concat());
        assert!(out.status.success(), "{flags:?}: {}", said(&out));
        String::from_utf8(out.stdout).unwrap()
    };
    let list: Value = serde_json::from_str(&of(&["--list"])).unwrap();
    assert_eq!(list, admin.get("/api/inventory/ansible").is(200));
    let vars: Value = serde_json::from_str(&of(&["--host", "web-1"])).unwrap();
    assert_eq!(vars, list["_meta"]["hostvars"]["web-1"]);
    assert_eq!(of(&["--host", "nobody"]).trim(), "{}");
    assert!(
        of(&["--ssh-config", "--known-hosts-file", "/tmp/my hosts"]).contains("UserKnownHostsFile \"/tmp/my hosts\"")
    );
    assert!(of(&["--known-hosts"]).contains(KEY));
    assert!(of(&["--prometheus-sd", "--tag", "web"]).contains("192.0.2.1:9100"));
    let none = run(&["inventory", "--data-dir", house.dir()]);
    assert_eq!(none.status.code(), Some(2), "{}", said(&none));
    // ssh itself understands what it is given.
    let config = house.folder.file("config", of(&["--ssh-config"]));
    let ssh = std::process::Command::new("ssh")
        .args(["-G", "-F"])
        .arg(&config)
        .arg("web-2")
        .output()
        .unwrap();
    let told = String::from_utf8(ssh.stdout).unwrap();
    assert!(
        told.contains("hostname 2001:db8::2\n") && told.contains("stricthostkeychecking true\n"),
        "{told}"
    );

    let file = house.folder.file(
        "hosts.ini",
        "[db]\ndb-[1:2] ansible_host=192.0.2.50 ansible_user=root\n",
    );
    let import = |flag: &str| {
        let file = file.to_str().unwrap();
        let out = run(&["inventory-import", "--data-dir", house.dir(), "--file", file, flag]);
        assert!(out.status.success(), "{}", said(&out));
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(import("--plan").contains("2 hosts, 2 new, 0 added."));
    assert_eq!(admin.get("/api/servers?q=db-").is(200)["total"], 0);
    assert!(import("--yes").contains("2 hosts, 2 new, 2 added."));
    assert_eq!(admin.get("/api/servers?q=db-").is(200)["total"], 2);
    fs::remove_file(file).unwrap();
}
