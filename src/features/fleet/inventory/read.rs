//! Inventories of others, read: `ssh_config`, Ansible (INI or JSON) and CSV. Pure and bounded; what is not understood is
//! told with its host and never guessed.

use crate::base::error::Field;
use crate::base::text;
use crate::rule::glob;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Hosts of an inventory.
pub const HOSTS_MAX: usize = 5_000;
/// Tags of a host: more groups than a server may have tags are left out.
const TAGS_MAX: usize = 32;
/// Groups in groups.
const DEPTH_MAX: usize = 16;

/// Kinds of inventories; the first one means whichever it looks like.
pub const FORMATS: [&str; 4] = ["auto", "ssh_config", "ansible", "csv"];

/// A host as it stands in an inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// What it is called there.
    pub name: String,
    /// Address or DNS name.
    pub host: String,
    /// SSH port.
    pub port: String,
    /// Login name.
    pub username: String,
    /// Tags and groups.
    pub tags: Vec<String>,
    /// As in a server.
    pub environment: String,
    /// As in a server.
    pub os_type: String,
    /// As in a server.
    pub description: String,
    /// Why it cannot be taken; `None`: it can.
    pub problem: Option<Field>,
}

/// Reads an inventory. Error: a sentence.
pub fn read(format: &str, text: &str) -> Result<Vec<Entry>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let hosts = match format {
        "auto" => return read(looks_like(text), text),
        "ssh_config" => ssh_config(text),
        "csv" => csv(text),
        _ if text.trim_start().starts_with('{') => ansible_json(text),
        _ => ansible_ini(text),
    }?;
    match hosts.len() {
        0 => Err("There is no host in it.".into()),
        n if n > HOSTS_MAX => Err(too_many()),
        _ => Ok(hosts),
    }
}

fn too_many() -> String {
    format!("An inventory has at most {HOSTS_MAX} hosts.")
}

fn looks_like(text: &str) -> &'static str {
    let lines = || {
        text.lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
    };
    let first = lines().next().unwrap_or_default();
    let is_head = delimiter(first).is_some_and(|by| columns(first, by).iter().any(|c| c == "host" || c == "name"));
    let is_host = |line: &str| keyword(line).is_some_and(|(word, _)| word == "host" || word == "match");
    match () {
        () if first.starts_with('{') || first.starts_with('[') => "ansible",
        () if is_head => "csv",
        () if lines().any(is_host) => "ssh_config",
        () => "ansible",
    }
}

// ---- ssh_config ------------------------------------------------------------------------------------------------------

/// `Keyword value` or `Keyword=value`, the keyword in small letters.
fn keyword(line: &str) -> Option<(String, &str)> {
    let end = line.find(|c: char| c.is_whitespace() || c == '=')?;
    let value = line[end..].trim_start();
    let value = value.strip_prefix('=').unwrap_or(value).trim();
    Some((line[..end].to_ascii_lowercase(), value))
}

/// Words, of which one in quotes may have spaces.
fn words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.push(c),
            None if c == '"' || c == '\'' => (quote, any) = (Some(c), true),
            None if c.is_whitespace() => {
                if any || !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
                any = false;
            }
            None => word.push(c),
        }
    }
    if any || !word.is_empty() {
        out.push(word);
    }
    out
}

/// The patterns of a block, and its keywords with their values.
type Block = (Vec<String>, Vec<(String, String)>);

/// Of a host's blocks the first value of a keyword counts, as for ssh.
fn ssh_config(text: &str) -> Result<Vec<Entry>, String> {
    let mut blocks: Vec<Block> = vec![(vec!["*".into()], Vec::new())];
    let mut names: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let Some((word, value)) = keyword(line) else { continue };
        match word.as_str() {
            "host" => {
                let patterns = words(value);
                let is_name = |p: &&String| !p.contains(['*', '?', '!']);
                for name in patterns.iter().filter(is_name) {
                    if seen.insert(name.clone()) {
                        names.push(name.clone());
                    }
                }
                blocks.push((patterns, Vec::new()));
            }
            "match" => {
                let for_all = value.eq_ignore_ascii_case("all");
                blocks.push((if for_all { vec!["*".into()] } else { Vec::new() }, Vec::new()));
            }
            _ => {
                if let Some((_, options)) = blocks.last_mut() {
                    options.push((word, words(value).into_iter().next().unwrap_or_default()));
                }
            }
        }
        if names.len() > HOSTS_MAX {
            return Err(too_many());
        }
    }
    Ok(names.into_iter().map(|name| of_alias(name, &blocks)).collect())
}

fn of_alias(name: String, blocks: &[Block]) -> Entry {
    let fits = |pattern: &str| glob(&pattern.chars().collect::<Vec<_>>(), &name);
    let is_of = |patterns: &[String]| {
        let not = patterns.iter().filter_map(|p| p.strip_prefix('!')).any(fits);
        !not && patterns.iter().filter(|p| !p.starts_with('!')).any(|p| fits(p))
    };
    let mine: Vec<_> = (blocks.iter().filter(|(patterns, _)| is_of(patterns)))
        .flat_map(|(_, options)| options)
        .collect();
    let value = |word: &str| mine.iter().find(|(w, _)| w == word).map(|(_, value)| value.as_str());
    let jump = value("proxyjump")
        .or(value("proxycommand"))
        .filter(|v| !v.eq_ignore_ascii_case("none"));
    let host = value("hostname").unwrap_or(&name);
    let host = host.replace("%%", "\0").replace("%h", &name).replace('\0', "%");
    Entry {
        port: value("port").unwrap_or_default().into(),
        username: value("user").unwrap_or_default().into(),
        problem: jump.map(|_| Field {
            field: "host",
            code: "through_another",
            message: "It is reached through another host (ProxyJump or ProxyCommand), which is not possible here."
                .into(),
        }),
        host,
        name,
        ..Entry::default()
    }
}

// ---- Ansible ---------------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Ansible {
    /// Variables by host, in the order of the hosts.
    hosts: Vec<(String, BTreeMap<String, String>)>,
    place: BTreeMap<String, usize>,
    /// Hosts, children and variables by group.
    groups: BTreeMap<String, Group>,
}

#[derive(Default)]
struct Group {
    hosts: BTreeSet<String>,
    children: BTreeSet<String>,
    vars: BTreeMap<String, String>,
}

impl Ansible {
    fn host(&mut self, name: &str, vars: impl IntoIterator<Item = (String, String)>) -> Result<(), String> {
        let at = match self.place.get(name) {
            Some(at) => *at,
            None => {
                self.place.insert(name.into(), self.hosts.len());
                self.hosts.push((name.into(), BTreeMap::new()));
                self.hosts.len() - 1
            }
        };
        self.hosts[at].1.extend(vars);
        match self.hosts.len() > HOSTS_MAX {
            true => Err(too_many()),
            false => Ok(()),
        }
    }

    fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.into()).or_default()
    }

    /// A host has the variables of its groups, the inner ones first, and their names as tags.
    fn entries(self) -> Vec<Entry> {
        let mut parents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut of_host: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, group) in &self.groups {
            for child in &group.children {
                parents.entry(child).or_default().push(name);
            }
            for host in &group.hosts {
                of_host.entry(host).or_default().push(name);
            }
        }
        let entry = |(name, own): &(String, BTreeMap<String, String>)| {
            let mut all: Vec<&str> = Vec::new();
            let mut level = of_host.get(name.as_str()).cloned().unwrap_or_default();
            for _ in 0..DEPTH_MAX {
                let fresh: Vec<&str> = level.into_iter().filter(|g| !all.contains(g)).collect();
                all.extend(&fresh);
                level = fresh
                    .iter()
                    .flat_map(|g| parents.get(g).cloned().unwrap_or_default())
                    .collect();
            }
            if !all.contains(&"all") {
                all.push("all");
            }
            let var = |names: [&str; 2]| {
                let of = |vars: &BTreeMap<String, String>| names.iter().find_map(|n| vars.get(*n)).cloned();
                let of_groups = || all.iter().find_map(|group| of(&self.groups.get(*group)?.vars));
                of(own).or_else(of_groups).unwrap_or_default()
            };
            let host = var(["ansible_host", "ansible_ssh_host"]);
            let connection = var(["ansible_connection", "ansible_connection"]);
            let is_ssh =
                ["", "ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"].contains(&&*connection);
            let tags = all.iter().filter(|g| !["all", "ungrouped"].contains(g));
            Entry {
                host: if host.is_empty() { name.clone() } else { host },
                port: var(["ansible_port", "ansible_ssh_port"]),
                username: var(["ansible_user", "ansible_ssh_user"]),
                tags: tags.take(TAGS_MAX).map(|tag| tag.to_string()).collect(),
                environment: var(["lamplighter_environment", "lamplighter_environment"]),
                problem: (!is_ssh).then(|| Field {
                    field: "host",
                    code: "not_by_ssh",
                    message: format!("It is reached by “{}” and not by ssh.", text::one_line(&connection, 40)),
                }),
                name: name.clone(),
                ..Entry::default()
            }
        };
        self.hosts.iter().map(entry).collect()
    }
}

/// `name=value` words; another word is no variable.
fn vars(words: &[String]) -> Vec<(String, String)> {
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    pairs
        .map(|(name, value)| (name.trim().into(), unquoted(value)))
        .collect()
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = ['"', '\''].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q));
    inner.unwrap_or(text).to_string()
}

fn ansible_ini(text: &str) -> Result<Vec<Entry>, String> {
    let mut ansible = Ansible::default();
    let (mut group, mut part) = ("ungrouped".to_string(), "hosts".to_string());
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        let comment = line.find(" #").map_or(line, |at| &line[..at]).trim();
        let line = if line.starts_with(['#', ';']) { "" } else { comment };
        if line.is_empty() {
            continue;
        }
        if let Some(head) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let (name, of) = head.split_once(':').unwrap_or((head, "hosts"));
            (group, part) = (name.trim().to_string(), of.trim().to_string());
            ansible.group(&group);
            if !["hosts", "children", "vars"].contains(&part.as_str()) {
                return Err(format!(
                    "Line {}: a section is [group], [group:vars] or [group:children].",
                    n + 1
                ));
            }
            continue;
        }
        match part.as_str() {
            "children" => {
                ansible.group(&group).children.insert(line.to_string());
            }
            "vars" => {
                let pair = line
                    .split_once('=')
                    .ok_or_else(|| format!("Line {}: a variable is name=value.", n + 1))?;
                let (name, value) = (pair.0.trim().to_string(), unquoted(pair.1));
                ansible.group(&group).vars.insert(name, value);
            }
            _ => {
                let words = words(line);
                let (name, rest) = words.split_first().ok_or("An empty line.")?;
                for name in range(name).map_err(|why| format!("Line {}: {why}", n + 1))? {
                    ansible.host(&name, vars(rest))?;
                    ansible.group(&group).hosts.insert(name);
                }
            }
        }
    }
    Ok(ansible.entries())
}

/// `web[01:10].example.com` and `db-[a:f]`, also with a step as a third number.
fn range(pattern: &str) -> Result<Vec<String>, String> {
    let (mut out, mut rest) = (vec![String::new()], pattern);
    while let Some((before, after)) = rest.split_once('[') {
        let bad = || format!("“{}” is no range of hosts.", crate::base::text::one_line(pattern, 60));
        let (inside, behind) = after.split_once(']').ok_or_else(bad)?;
        let values = range_values(inside).ok_or_else(bad)?;
        if out.len() * values.len() > HOSTS_MAX {
            return Err(too_many());
        }
        let joined = out
            .iter()
            .flat_map(|head| values.iter().map(move |v| format!("{head}{before}{v}")));
        (out, rest) = (joined.collect(), behind);
    }
    out.iter_mut().for_each(|name| name.push_str(rest));
    Ok(out)
}

fn range_values(inside: &str) -> Option<Vec<String>> {
    let parts: Vec<&str> = inside.split(':').collect();
    let (from, to) = (*parts.first()?, *parts.get(1)?);
    let step: usize = parts.get(2).map_or(Some(1), |s| s.parse().ok()).filter(|n| *n > 0)?;
    if let (Ok(first), Ok(last)) = (from.parse::<usize>(), to.parse::<usize>()) {
        if last < first || last - first > HOSTS_MAX {
            return None;
        }
        let width = if from.starts_with('0') { from.len() } else { 0 };
        return Some((first..=last).step_by(step).map(|n| format!("{n:0width$}")).collect());
    }
    let letter = |text: &str| {
        Some(
            text.chars()
                .next()
                .filter(|c| c.is_ascii_alphabetic() && text.len() == 1)? as u8,
        )
    };
    let (first, last) = (letter(from)?, letter(to)?);
    (first <= last).then(|| {
        (first..=last)
            .step_by(step)
            .map(|c| char::from(c).to_string())
            .collect()
    })
}

/// Two forms: what an inventory script prints with `--list`, and a tree that begins at `all`.
fn ansible_json(text: &str) -> Result<Vec<Entry>, String> {
    let groups: Map<String, Value> = serde_json::from_str(text).map_err(|e| format!("This is not JSON: {e}."))?;
    let mut ansible = Ansible::default();
    for (name, group) in &groups {
        if name == "_meta" {
            let vars = group.get("hostvars").and_then(Value::as_object);
            for (host, vars) in vars.into_iter().flatten() {
                ansible.host(host, plain_vars(vars))?;
            }
            continue;
        }
        json_group(&mut ansible, name, group, 0)?;
    }
    Ok(ansible.entries())
}

fn json_group(ansible: &mut Ansible, name: &str, group: &Value, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("Groups are at most {DEPTH_MAX} deep."));
    }
    ansible.group(name);
    let hosts = match group {
        Value::Array(_) => Some(group),
        _ => group.get("hosts"),
    };
    match hosts {
        Some(Value::Array(hosts)) => {
            for host in hosts.iter().filter_map(Value::as_str) {
                ansible.host(host, [])?;
                ansible.group(name).hosts.insert(host.into());
            }
        }
        Some(Value::Object(hosts)) => {
            for (host, vars) in hosts {
                ansible.host(host, plain_vars(vars))?;
                ansible.group(name).hosts.insert(host.clone());
            }
        }
        _ => {}
    }
    if let Some(vars) = group.get("vars") {
        ansible.group(name).vars.extend(plain_vars(vars));
    }
    match group.get("children") {
        Some(Value::Array(children)) => {
            let names = children.iter().filter_map(Value::as_str).map(String::from);
            ansible.group(name).children.extend(names);
        }
        Some(Value::Object(children)) => {
            for (child, below) in children {
                ansible.group(name).children.insert(child.clone());
                json_group(ansible, child, below, depth + 1)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn plain_vars(vars: &Value) -> Vec<(String, String)> {
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    };
    let all = vars.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), plain(value)?)))
        .collect()
}

// ---- CSV -------------------------------------------------------------------------------------------------------------

fn delimiter(head: &str) -> Option<char> {
    [',', ';', '\t'].into_iter().find(|by| head.contains(*by))
}

/// The names of columns by those of fields.
fn columns(head: &str, by: char) -> Vec<String> {
    let names = head.split(by).map(|name| unquoted(name).to_lowercase());
    let known = names.map(|name| match name.as_str() {
        "hostname" | "address" | "ip" | "ansible_host" => "host".into(),
        "ssh_port" | "ansible_port" => "port".into(),
        "user" | "login" | "ansible_user" => "username".into(),
        "env" => "environment".into(),
        "os" => "os_type".into(),
        "tag" | "groups" | "labels" => "tags".into(),
        "notes" | "comment" => "description".into(),
        _ => name,
    });
    known.collect()
}

fn csv(text: &str) -> Result<Vec<Entry>, String> {
    let head = text.lines().next().unwrap_or_default();
    let by = delimiter(head).ok_or("The first line of a CSV names its columns: name,host,port,username,tags.")?;
    let columns = columns(head, by);
    if !columns.iter().any(|c| c == "host") {
        return Err("The first line of a CSV names its columns, and one of them is host.".into());
    }
    let mut out = Vec::new();
    for row in records(text, by)?.into_iter().skip(1) {
        if row.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let cell = |name: &str| {
            let at = columns.iter().position(|c| c == name);
            at.and_then(|at| row.get(at))
                .map_or(String::new(), |cell| cell.trim().to_string())
        };
        let (name, host) = (cell("name"), cell("host"));
        let tags = cell("tags");
        let tags = tags
            .split([',', ';', ' ', '|'])
            .map(str::trim)
            .filter(|tag| !tag.is_empty());
        out.push(Entry {
            name: if name.is_empty() { host.clone() } else { name },
            host,
            port: cell("port"),
            username: cell("username"),
            tags: tags.take(TAGS_MAX).map(String::from).collect(),
            environment: cell("environment"),
            os_type: cell("os_type"),
            description: cell("description"),
            problem: (row.len() > columns.len()).then(|| Field {
                field: "text",
                code: "too_many_cells",
                message: "Its line has more cells than there are columns.".into(),
            }),
        });
        if out.len() > HOSTS_MAX {
            return Err(too_many());
        }
    }
    Ok(out)
}

/// RFC 4180: a cell in quotes may have the delimiter, line ends and doubled quotes.
fn records(text: &str, by: char) -> Result<Vec<Vec<String>>, String> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.push(chars.next().unwrap_or('"')),
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            _ if quoted => cell.push(c),
            '\r' => {}
            '\n' => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            _ if c == by => row.push(std::mem::take(&mut cell)),
            _ => cell.push(c),
        }
        if rows.len() > 2 * HOSTS_MAX {
            return Err(too_many());
        }
    }
    if quoted {
        return Err("A quote is opened and not closed.".into());
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(format: &str, text: &str) -> Vec<String> {
        let line = |e: Entry| {
            let (tags, problem) = (e.tags.join(" "), e.problem.map(|p| p.message).unwrap_or_default());
            format!(
                "{} {} {} {} [{tags}] {}{problem}",
                e.name, e.host, e.port, e.username, e.environment
            )
        };
        read(format, text).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn of_ssh_config_the_first_value_counts() {
        let text = "\
User early
# a comment
Host web-1 web-2
    HostName=%h.example.org
    Port 2222
Host db \"old db\"
    HostName 10.0.0.7
    User late
Host bastion-only
    ProxyJump gate
Host *.pattern !no
    User nobody
Match host x
    User nobody
Host *
    Port 22
";
        assert_eq!(
            told("auto", text),
            [
                "web-1 web-1.example.org 2222 early [] ",
                "web-2 web-2.example.org 2222 early [] ",
                "db 10.0.0.7 22 early [] ",
                "old db 10.0.0.7 22 early [] ",
                "bastion-only bastion-only 22 early [] It is reached through another host (ProxyJump or ProxyCommand), which is not possible here.",
            ]
        );
    }

    #[test]
    fn an_ansible_inventory_has_ranges_groups_and_their_variables() {
        let text = "\
lone ansible_host=192.0.2.1

[web]
web[01:03] ansible_user=deploy # by hand
web-x ansible_port=2200 ansible_host='192.0.2.9'

[db]
db-[a:b]

[eu:children]
web
db

[eu:vars]
ansible_user=root
lamplighter_environment = prod

[all:vars]
ansible_port=22
";
        assert_eq!(
            told("auto", text),
            [
                "lone 192.0.2.1 22  [] ",
                "web01 web01 22 deploy [web eu] prod",
                "web02 web02 22 deploy [web eu] prod",
                "web03 web03 22 deploy [web eu] prod",
                "web-x 192.0.2.9 2200 root [web eu] prod",
                "db-a db-a 22 root [db eu] prod",
                "db-b db-b 22 root [db eu] prod",
            ]
        );
        let list = r#"{"_meta":{"hostvars":{"a":{"ansible_host":"192.0.2.1","ansible_port":2222}}},
            "web":{"hosts":["a","b"],"vars":{"ansible_user":"x"}},"eu":{"children":["web"]},"old":["c"]}"#;
        let expected = ["a 192.0.2.1 2222 x [web eu] ", "c c   [old] ", "b b  x [web eu] "];
        assert_eq!(told("auto", list), expected);
        let tree = r#"{"all":{"vars":{"ansible_user":"x"},"children":{"web":{"hosts":{"a":{"ansible_connection":"winrm"}}}}}}"#;
        assert_eq!(
            told("ansible", tree),
            ["a a  x [web] It is reached by “winrm” and not by ssh."]
        );
    }

    #[test]
    fn a_csv_names_its_columns_in_any_order() {
        let text = "IP;Name;env;Tags;User\n192.0.2.1;\"a;b\";prod;web eu;root\n192.0.2.2;;;;\n\n1;2;3;4;5;6\n";
        assert_eq!(
            told("auto", text),
            [
                "a;b 192.0.2.1  root [web eu] prod",
                "192.0.2.2 192.0.2.2   [] ",
                "2 1  5 [4] 3Its line has more cells than there are columns.",
            ]
        );
    }

    #[test]
    fn what_is_no_inventory_is_refused() {
        for (format, text) in [
            ("auto", ""),
            ("csv", "name,port\nx,1"),
            ("csv", "name,host\n\"x,1"),
            ("ansible", "{"),
            ("ansible", "[web:hosts:x]\nx"),
            ("ansible", "web[1:99999999]"),
            ("ansible", "web[9:1]"),
            ("ansible", "w[0:999]x[0:999]"),
            ("ssh_config", "Host *\n User x"),
        ] {
            assert!(read(format, text).is_err(), "{format} {text}");
        }
        let deep = format!(
            "{}{}",
            "{\"a\":{\"children\":".repeat(100),
            "{}".to_string() + &"}}".repeat(100)
        );
        assert!(read("ansible", &deep).is_err());
        let many: String = (0..=HOSTS_MAX).map(|n| format!("h{n}\n")).collect();
        assert!(read("ansible", &many).is_err());
    }
}
