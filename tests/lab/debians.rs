//! The main stories on Debian 11 and 13 and on Ubuntu 24.04, and on a Debian that was prepared by hand as clouds and people
//! make their Ubuntu. Needs the lab (`tests/lab`), hosts d11, d13, u24 and h13.

use crate::common;

use common::lab::{
    Hosts, act, address, back_end, back_end_at, changes, deploy, domain, fetch, fetch_tls, house, log, on, remove,
    script, upstream,
};
use common::*;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// A task about server 1.
fn task(house: &House, what: &str) -> Value {
    act(house, &format!("/api/servers/1/{what}"), &json!({}))
}

fn twice(house: &House, what: &str) -> Value {
    let first = task(house, what);
    assert!(changes(&first) > 0, "{what}: {first}");
    let second = task(house, what);
    assert_eq!(changes(&second), 0, "{what}, the second time: {}", log(house, &second));
    first
}

fn facts(house: &House) -> Value {
    house.admin().get("/api/servers/1").is(200)["facts"].clone()
}

/// A name of the zone alpha.test that leads to this host.
fn named(host: &str, name: &str) -> String {
    script("dns", &["del", "alpha.test", &format!("^{name} ")]);
    script("dns", &["add", "alpha.test", &format!("{name} IN A {}", address(host))]);
    format!("{name}.alpha.test")
}

/// A site without and one with TLS; each deployed twice, then asked for.
pub fn two_sites(house: &House, host: &str) -> [i64; 2] {
    back_end(host, 9000, "app");
    let app = upstream(house, "app", &["127.0.0.1:9000"]);
    let plain = named(host, &format!("plain-{host}"));
    let tls = named(host, &format!("tls-{host}"));
    let sites = [
        domain(house, &plain, app, &json!({})),
        domain(house, &tls, app, &json!({ "ssl": true })),
    ];
    for id in sites {
        assert!(changes(&deploy(house, id)) > 0);
        assert_eq!(changes(&deploy(house, id)), 0, "the second time");
    }
    assert_eq!(fetch(host, &plain, "/"), Some((200, "app".into())));
    assert_eq!(fetch_tls(host, &tls), ("200".into(), "app".into()));
    sites
}

/// The server is up, by its Glances.
fn lit(house: &House) -> Value {
    eventually("the lamp is lit", || {
        let seen = house.admin().get("/api/servers/1").is(200);
        (seen["status"] == "ok" && seen["last_sample"]["mem_percent"].is_f64()).then_some(seen)
    })
}

/// What an installation of Glances has made, wherever it is.
const GLANCES: &str =
    "ls -d /opt/lamplighter-glances* /var/cache/lamplighter-wheels /etc/systemd/system/lamplighter-glances* \
     /etc/nginx/conf.d/lamplighter-glances.conf /etc/nginx/lamplighter/glances* 2>/dev/null
     getent passwd lamplighter-glances; systemctl is-active lamplighter-glances | grep -x active; true";

/// Everything off again, and nothing of Glances left.
fn all_gone(house: &House, host: &str, sites: [i64; 2]) {
    for id in sites {
        assert!(changes(&remove(house, id)) > 0);
    }
    assert_eq!(
        on(
            host,
            "ls /etc/nginx/sites-enabled /etc/letsencrypt/live 2>/dev/null | grep alpha; nginx -t 2>&1 | grep -c successful; true"
        ),
        "1"
    );
    glances_gone(house, host);
    let server = house.admin().get("/api/servers/1").is(200);
    assert_eq!(
        (&server["glances_profile"], &server["has_glances_password"]),
        (&json!("unknown"), &json!(false))
    );
}

/// Nothing of it is left, and what is not ours is not taken away.
fn glances_gone(house: &House, host: &str) {
    assert!(changes(&task(house, "remove-glances")) > 0);
    assert_eq!(on(host, GLANCES), "");
    let again = house.admin().post("/api/servers/1/remove-glances", &json!({}));
    again.fails(409, "glances_not_ours");
}

/// needrestart asks people at the end of each installation, as Ubuntu has it. It must neither ask nor restart.
fn needrestart(host: &str) {
    on(
        host,
        "DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get install -qq -y needrestart >/dev/null 2>&1
         echo \"\\$nrconf{restart} = 'i';\" >/etc/needrestart/conf.d/ubuntu.conf; test -x /usr/sbin/needrestart",
    );
}
const SUSPENDED: &str = "needrestart is suspended";

// --- Debian 13 ------------------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: u24"]
fn ubuntu_is_set_up_as_debian_is() {
    let Some(hosts) = Hosts::fetched(&["u24"]) else { return };
    let house = house(&hosts);
    needrestart("u24");
    changes(&task(&house, "check-ssh"));
    let seen = facts(&house);
    assert_eq!(
        (&seen["os_id"], &seen["os_version"]),
        (&json!("ubuntu"), &json!("24.04"))
    );
    let first = twice(&house, "deploy-proxy");
    assert!(log(&house, &first).contains(SUSPENDED), "{}", log(&house, &first));
    let sites = two_sites(&house, "u24");
    twice(&house, "install-glances");
    println!("Glances {}", lit(&house)["facts"]["glances_version"]);
    assert_eq!(facts(&house)["glances_from"], "package");
    all_gone(&house, "u24", sites);
}

#[test]
#[ignore = "lab: d13"]
fn debian_13_has_a_glances_without_its_page() {
    let Some(hosts) = Hosts::fetched(&["d13"]) else { return };
    let house = house(&hosts);
    needrestart("d13");
    changes(&task(&house, "check-ssh"));
    let seen = facts(&house);
    assert_eq!(
        (&seen["os_version"], &seen["glances_next"]),
        (&json!("13"), &json!("package 4.3.1"))
    );

    let first = twice(&house, "deploy-proxy");
    assert!(log(&house, &first).contains(SUSPENDED), "{}", log(&house, &first));
    let sites = two_sites(&house, "d13");

    twice(&house, "install-glances");
    assert!(on("d13", "systemctl show -p ExecStart --value lamplighter-glances").contains(" --disable-webui "));
    assert_eq!(lit(&house)["glances_api_version"], 4);
    assert_eq!(facts(&house)["glances_from"], "package");
    // Without the login nothing, and with the page off there is nothing but figures.
    assert_eq!(
        on(
            "d13",
            "curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:61443/api/4/mem"
        ),
        "401"
    );
    assert_eq!(
        on("d13", "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:61208/"),
        "404"
    );
    all_gone(&house, "d13", sites);
}

// --- Debian 11 ------------------------------------------------------------------------------------------------------

/// The wheels of d11's image as a bundle on this machine; None, said loudly, where PyPI could not be reached when it was built.
fn bundle(house: &House) -> Option<PathBuf> {
    if on("d11", "ls /srv/labwheels").is_empty() {
        eprintln!("NOT RUN: Glances from wheels on d11: its image has none");
        return None;
    }
    let lab = std::env::var_os("LAB_DIR").map_or("/var/tmp/lamplighter-lab".into(), PathBuf::from);
    let file = PathBuf::from(house.dir()).join("glances.tar");
    let made = Command::new("tar")
        .arg("-C")
        .arg(lab.join("disk/host-d11/srv/labwheels"))
        .arg("-cf")
        .arg(&file)
        .arg(".")
        .status()
        .unwrap();
    assert!(made.success());
    Some(file)
}

#[test]
#[ignore = "lab: d11"]
fn debian_11_has_no_glances_and_gets_it_from_wheels() {
    let Some(hosts) = Hosts::fetched(&["d11"]) else { return };
    let house = house(&hosts);
    let admin = house.admin();
    needrestart("d11");
    // Another flavour of nginx than the one we would install is an nginx, too.
    on(
        "d11",
        "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nginx-light >/dev/null 2>&1; nginx -v",
    );
    changes(&task(&house, "check-ssh"));
    let seen = facts(&house);
    assert_eq!(
        (&seen["os_version"], &seen["glances_next"]),
        (&json!("11"), &json!("wheels"))
    );
    twice(&house, "deploy-proxy");
    let flavours = "dpkg -l | sed -n 's/^ii  \\(nginx-[a-z]*\\) .*/\\1/p' | grep -v common";
    assert_eq!(on("d11", flavours), "nginx-light");
    let sites = two_sites(&house, "d11");

    // The package alone: there is none. pip: no way to its index. Nothing is left of either.
    let before = on(
        "d11",
        "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' | grep ' installed$' | sort | sha256sum",
    );
    let only = act(
        &house,
        "/api/servers/1/install-glances",
        &json!({ "source": "package" }),
    );
    assert_eq!(only["error"]["code"], "glances_no_package", "{only}");
    let away = task(&house, "install-glances");
    assert_eq!(away["error"]["code"], "index_unreachable", "{}", log(&house, &away));
    assert!(log(&house, &away).contains(SUSPENDED), "{}", log(&house, &away));
    assert_eq!(on("d11", GLANCES), "");
    assert_eq!(
        on(
            "d11",
            "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' | grep ' installed$' | sort | sha256sum"
        ),
        before
    );

    let Some(tar) = bundle(&house) else { return };
    // Told before it is done.
    admin
        .put("/api/settings", &json!({ "glances.bundle": tar.to_str().unwrap() }))
        .is(200);
    let told = admin.get("/api/servers/1/install-glances").is(200);
    let sum = Command::new("sha256sum").arg(&tar).output().unwrap();
    let sum = String::from_utf8_lossy(&sum.stdout)[..64].to_string();
    assert_eq!(
        (&told["next"], &told["bundle"]["sha256"], &told["folder"]),
        (&json!("wheels"), &json!(sum), &json!("/opt/lamplighter-glances"))
    );
    assert!(admin.get("/servers/1/install-glances").text().contains(&sum));

    twice(&house, "install-glances");
    assert_eq!(lit(&house)["glances_api_version"], 4);
    assert_eq!(facts(&house)["glances_from"], format!("bundle {sum}"));
    assert_eq!(
        on(
            "d11",
            "ls -A /root/.cache /var/cache/lamplighter-wheels 2>/dev/null; ps -o user= -C glances | sort -u | cut -c 1-5"
        ),
        "lampl"
    );
    // A job that was killed between taking the old one away and having the new one.
    on(
        "d11",
        "cd /opt && mv lamplighter-glances lamplighter-glances.lamplighter-old && mkdir lamplighter-glances && touch lamplighter-glances/lamplighter",
    );
    assert_eq!(changes(&task(&house, "install-glances")), 0);
    // A bundle that has not what it takes: the one before goes on.
    on("d11", "mkdir /root/poor && cp /srv/labwheels/glances-* /root/poor");
    let poor = tar.with_file_name("poor.tar");
    let lab = std::env::var_os("LAB_DIR").map_or("/var/tmp/lamplighter-lab".into(), PathBuf::from);
    let from = lab.join("disk/host-d11/root/poor");
    assert!(
        Command::new("tar")
            .arg("-C")
            .arg(from)
            .arg("-cf")
            .arg(&poor)
            .arg(".")
            .status()
            .unwrap()
            .success()
    );
    admin
        .put("/api/settings", &json!({ "glances.bundle": poor.to_str().unwrap() }))
        .is(200);
    let unfit = task(&house, "install-glances");
    assert_eq!(unfit["error"]["code"], "wheels_unfit", "{}", log(&house, &unfit));
    assert!(
        unfit["error"]["message"].as_str().unwrap().contains("Python 3.9"),
        "{unfit}"
    );
    assert_eq!(
        on(
            "d11",
            "cat /opt/lamplighter-glances/from; systemctl is-active lamplighter-glances; ls -d /opt/lampl*"
        ),
        format!("bundle {sum}\nactive\n/opt/lamplighter-glances")
    );
    glances_gone(&house, "d11");

    // By pip, from the index that the server is set up for.
    admin.put("/api/settings", &json!({ "glances.bundle": "" })).is(200);
    on(
        "d11",
        "mkdir -p /srv/index && cd /srv/index && for w in /srv/labwheels/*.whl; do n=${w##*/}; n=$(echo ${n%%-*} | tr 'A-Z_.' 'a-z--'); mkdir -p $n; ln -s $w $n/; done
         systemd-run -q --unit index python3 -m http.server --directory /srv/index --bind 127.0.0.1 8088
         printf '[global]\\nindex-url = http://127.0.0.1:8088/\\n' >/etc/pip.conf; sleep 1",
    );
    twice(&house, "install-glances");
    assert_eq!(facts(&house)["glances_from"], "index");
    lit(&house);
    all_gone(&house, "d11", sites);
}

// --- as Ubuntu makes them -------------------------------------------------------------------------------------------

/// h13 as cloud-init, netplan with systemd-resolved, ufw, nginx.org's package and certbot's snap leave a server. What stands
/// in: Debian's nginx and certbot below the foreign layouts, and ten lines of Python for the resolver at 127.0.0.53.
const UBUNTU: &str = r##"set -e
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq -y --no-install-recommends nginx certbot ufw >/dev/null 2>&1

# cloud-init: one login, whose password is locked and who needs none for sudo; root is told off.
useradd -m -s /bin/bash ubuntu; passwd -q -l ubuntu
printf '# Created by cloud-init v. 24.4 on Thu, 01 Jan 2026\n\n# User rules for ubuntu\nubuntu ALL=(ALL) NOPASSWD:ALL\n' >/etc/sudoers.d/90-cloud-init-users
chmod 440 /etc/sudoers.d/90-cloud-init-users
install -d -m 700 -o ubuntu -g ubuntu /home/ubuntu/.ssh
install -m 600 -o ubuntu -g ubuntu /root/.ssh/authorized_keys /home/ubuntu/.ssh/
sed -i "s|^ssh-|no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command=\"echo 'Please login as the user \\\\\"ubuntu\\\\\" rather than the user \\\\\"root\\\\\".';echo;sleep 10;exit 142\" ssh-|" /root/.ssh/authorized_keys
rm /etc/os-release
printf 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nNAME="Ubuntu"\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\nID=ubuntu\nID_LIKE=debian\n' >/etc/os-release

# netplan and systemd-resolved.
mkdir -p /etc/netplan /run/systemd/resolve
printf 'network:\n  version: 2\n  ethernets:\n    host0:\n      dhcp4: true\n' >/etc/netplan/50-cloud-init.yaml; chmod 600 /etc/netplan/50-cloud-init.yaml
printf '# This is /run/systemd/resolve/stub-resolv.conf managed by man:systemd-resolved(8).\n\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n' >/run/systemd/resolve/stub-resolv.conf
ln -sfn ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
systemd-run -q --unit stub python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.53", 53))
while True:
    q, who = s.recvfrom(4096)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(2); u.sendto(q, ("10.77.0.2", 53))
    try: s.sendto(u.recv(4096), who)
    except OSError: pass
    u.close()'

# nginx.org: no sites-enabled, a user of its own, its unit and its default site.
systemctl stop nginx
useradd --system --no-create-home --home-dir /nonexistent --shell /bin/false nginx
rm -rf /etc/nginx/sites-available /etc/nginx/sites-enabled /etc/nginx/modules-enabled /etc/nginx/modules-available /etc/nginx/snippets /var/www
cat >/etc/nginx/nginx.conf <<'C'

user  nginx;
worker_processes  auto;

error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;


events {
    worker_connections  1024;
}


http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;

    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';

    access_log  /var/log/nginx/access.log  main;

    sendfile        on;
    #tcp_nopush     on;

    keepalive_timeout  65;

    #gzip  on;

    include /etc/nginx/conf.d/*.conf;
}
C
cat >/etc/nginx/conf.d/default.conf <<'C'
server {
    listen       80;
    server_name  localhost;

    location / {
        root   /usr/share/nginx/html;
        index  index.html index.htm;
    }

    error_page   500 502 503 504  /50x.html;
    location = /50x.html {
        root   /usr/share/nginx/html;
    }
}
C
cat >/lib/systemd/system/nginx.service <<'C'
[Unit]
Description=nginx - high performance web server
Documentation=https://nginx.org/en/docs/
After=network-online.target remote-fs.target nss-lookup.target
Wants=network-online.target

[Service]
Type=forking
PIDFile=/run/nginx.pid
ExecStart=/usr/sbin/nginx -c /etc/nginx/nginx.conf
ExecReload=/bin/sh -c "/bin/kill -s HUP $(/bin/cat /run/nginx.pid)"
ExecStop=/bin/sh -c "/bin/kill -s TERM $(/bin/cat /run/nginx.pid)"

[Install]
WantedBy=multi-user.target
C
systemctl daemon-reload; systemctl start nginx

# certbot's snap, and its timer.
mkdir -p /snap/certbot/current/bin /snap/bin
cp /usr/bin/certbot /snap/certbot/current/bin/; ln -s /snap/certbot/current/bin/certbot /snap/bin/certbot
systemctl -q disable --now certbot.timer; dpkg --purge certbot >/dev/null 2>&1
printf '[Unit]\nDescription=Service for snap application certbot.renew\n[Service]\nType=oneshot\nExecStart=/snap/bin/certbot -q renew\n' >/etc/systemd/system/snap.certbot.renew.service
printf '[Unit]\nDescription=Timer renew for snap application certbot.renew\n[Timer]\nUnit=snap.certbot.renew.service\nOnCalendar=*-*-* 06:12\nOnCalendar=*-*-* 19:44\n[Install]\nWantedBy=timers.target\n' >/etc/systemd/system/snap.certbot.renew.timer
systemctl daemon-reload; systemctl -q enable --now snap.certbot.renew.timer

# ufw as the guides say.
ufw allow OpenSSH >/dev/null; ufw allow 'Nginx Full' >/dev/null; ufw --force enable >/dev/null
"##;

#[test]
#[ignore = "lab: h13"]
fn a_server_as_ubuntu_makes_them() {
    let hosts = Hosts::fresh(&["h13"], None);
    on("h13", UBUNTU);
    let house = house(&hosts);
    let admin = house.admin();
    admin.patch("/api/servers/1", &json!({ "username": "ubuntu" })).is(200);
    // One rule stays, as ever: that this controller reaches SSH.
    let walls = || {
        on(
            "h13",
            "{ ufw status verbose; ufw show added; } | grep -v 'lamplighter ssh'",
        )
    };
    let (before, theirs) = (walls(), fetch("h13", "10.77.0.23", "/").unwrap());
    assert!(theirs.1.contains("Welcome to nginx"), "{theirs:?}");

    changes(&task(&house, "check-ssh"));
    let seen = facts(&house);
    for (key, value) in [
        ("os_id", "ubuntu"),
        ("user", "ubuntu"),
        ("sudo", "nopasswd"),
        ("sudo_works", "yes"),
        ("certbot", "/snap/bin/certbot"),
    ] {
        assert_eq!(seen[key], value, "{seen}");
    }
    twice(&house, "deploy-proxy");
    let sites = two_sites(&house, "h13");
    // A target by name is resolved by the stub, and by nginx itself.
    let by_name = named("h13", "app-h13");
    let app = upstream(&house, "by-name", &[&format!("{by_name}:9001")]);
    back_end_at("h13", "10.77.0.23", 9001, "by name");
    let site = named("h13", "named-h13");
    let id = domain(&house, &site, app, &json!({}));
    assert!(changes(&deploy(&house, id)) > 0);
    assert_eq!(fetch("h13", &site, "/"), Some((200, "by name".into())));
    assert!(on("h13", "cat /etc/nginx/lamplighter/resolver.conf").contains("resolver 127.0.0.53"));
    assert!(changes(&remove(&house, id)) > 0);
    // The bare address is answered by whom it was before; one certbot there is, and its own timer's command renews.
    assert_eq!(fetch("h13", "10.77.0.23", "/").unwrap(), theirs);
    assert_eq!(
        on(
            "h13",
            "dpkg-query -W -f '${db:Status-Status}' certbot 2>/dev/null | grep -x installed; systemctl is-enabled snap.certbot.renew.timer"
        ),
        "enabled"
    );
    let serial = || {
        on(
            "h13",
            "openssl s_client -connect 127.0.0.1:443 -servername tls-h13.alpha.test </dev/null 2>/dev/null | openssl x509 -noout -serial",
        )
    };
    let old = serial();
    on(
        "h13",
        "sed -i 's/^renew_before_expiry.*/renew_before_expiry = 9999 days/' /etc/letsencrypt/renewal/lamplighter-tls-h13.alpha.test.conf; systemctl start snap.certbot.renew.service",
    );
    eventually("the renewed certificate is shown", || (serial() != old).then_some(()));

    // One address, and the firewall lets in who is named.
    let bind = json!({ "profile": "bind", "address": "10.77.0.23", "allow": ["controller"] });
    assert!(changes(&act(&house, "/api/servers/1/install-glances", &bind)) > 0);
    assert_eq!(changes(&act(&house, "/api/servers/1/install-glances", &bind)), 0);
    lit(&house);
    // Behind nginx, whose workers are another user's here.
    let front = json!({ "profile": "protected", "allow": [] });
    let behind = act(&house, "/api/servers/1/install-glances", &front);
    assert!(changes(&behind) > 0);
    let rule = "ufw allow from 10.77.0.1 to any port 61443 proto tcp";
    assert!(log(&house, &behind).contains(rule), "{}", log(&house, &behind));
    on("h13", rule);
    lit(&house);
    assert_eq!(changes(&act(&house, "/api/servers/1/install-glances", &front)), 0);
    on("h13", &rule.replace("ufw allow", "ufw delete allow"));
    assert_eq!(
        on(
            "h13",
            "stat -c %G /etc/nginx/lamplighter/glances.htpasswd; ps -o user= -C nginx | sort -u | paste -sd ' '"
        ),
        "nginx\nnginx root"
    );
    all_gone(&house, "h13", sites);
    assert_eq!(walls().replace(" ", ""), before.replace(" ", ""));
}
