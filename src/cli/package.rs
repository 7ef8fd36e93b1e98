//! Man pages and completions, from the same rows as the help; the Debian package installs them.

use super::{COMMON, Command, Flag};
use crate::base::config::KEYS;
use crate::base::shell::shq;

/// A file: its name, and its text.
pub type Made = (&'static str, String);

/// All of them.
pub fn files(commands: &[&Command]) -> Vec<Made> {
    vec![
        ("lamplighter.8", manual(commands)),
        ("lamplighter.env.5", env_manual()),
        ("lamplighter.bash", bash(commands)),
        ("_lamplighter", zsh(commands)),
        ("lamplighter.fish", fish(commands)),
    ]
}

/// Text of a man page: backslashes and hyphens are escaped, and no line begins with a request (groff_man(7)).
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

fn head(name: &str, section: u8, what: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let upper = name.to_uppercase();
    format!(
        ".TH {upper} {section} \"\" \"lamplighter {version}\" \"\"\n.SH NAME\n{} \\- {}\n",
        roff(name),
        roff(what)
    )
}

fn flag_rows(out: &mut String, flags: &[Flag]) {
    for flag in flags {
        let value = match flag.value {
            "" => String::new(),
            value => format!(" \\fI{}\\fR", roff(value)),
        };
        out.push_str(&format!(
            ".TP\n\\fB\\-\\-{}\\fR{value}\n{}\n",
            roff(flag.name),
            roff(flag.help)
        ));
    }
}

/// lamplighter(8)
fn manual(commands: &[&Command]) -> String {
    let mut out = head(
        "lamplighter",
        8,
        "looks after a fleet of Debian and Ubuntu servers over ssh",
    );
    out.push_str(".SH SYNOPSIS\n\\fBlamplighter\\fR \\fICOMMAND\\fR [\\fIFLAGS\\fR]\n.SH COMMANDS\n");
    for command in commands {
        out.push_str(&format!(".SS {}\n{}\n", roff(command.name), roff(command.help)));
        flag_rows(&mut out, command.flags);
    }
    out.push_str(".SH FLAGS OF ALL COMMANDS\n");
    flag_rows(&mut out, COMMON);
    out.push_str(".SH EXIT STATUS\n");
    for (code, means) in super::EXIT_CODES {
        out.push_str(&format!(".TP\n.B {code}\n{}\n", roff(means)));
    }
    out.push_str(
        ".SH FILES\n.TP\n.I /etc/lamplighter/lamplighter.env\nThe configuration: \\fBlamplighter.env\\fR(5).\n\
         .TP\n.I /etc/lamplighter/master.key\nThe master key. Without it the stored secrets cannot be opened: keep a copy elsewhere.\n\
         .TP\n.I /var/lib/lamplighter\nThe databases.\n\
         .SH SEE ALSO\n\\fBlamplighter.env\\fR(5), \\fBssh\\fR(1), \\fBsystemctl\\fR(1)\n",
    );
    out
}

/// lamplighter.env(5)
fn env_manual() -> String {
    let mut out = head("lamplighter.env", 5, "configuration of lamplighter");
    out.push_str(
        ".SH DESCRIPTION\nLines of \\fIKEY\\fR=\\fIvalue\\fR. A flag wins over an environment variable of the same name, and that over\n\
         the file. What can be changed while the daemon runs is a setting, on its page.\n.SH KEYS\n",
    );
    for key in KEYS {
        out.push_str(&format!(
            ".TP\n\\fBLAMPLIGHTER_{}\\fR\n{}\n",
            roff(key.name),
            roff(key.help)
        ));
        if !key.default.is_empty() {
            out.push_str(&format!("Default: {}\n", roff(key.default)));
        }
    }
    out.push_str(".SH SEE ALSO\n\\fBlamplighter\\fR(8)\n");
    out
}

fn names(flags: &[Flag]) -> String {
    let names: Vec<_> = flags.iter().map(|flag| format!("--{}", flag.name)).collect();
    names.join(" ")
}

fn is_path(flag: &Flag) -> bool {
    matches!(flag.value, "FILE" | "DIR")
}

fn bash(commands: &[&Command]) -> String {
    let all: Vec<_> = commands.iter().map(|c| c.name).collect();
    let mut rows = String::new();
    for command in commands {
        rows.push_str(&format!("    {}) flags='{}' ;;\n", command.name, names(command.flags)));
    }
    let own = commands.iter().flat_map(|c| c.flags);
    let mut with_path: Vec<_> = own
        .chain(COMMON)
        .filter(|f| is_path(f))
        .map(|f| format!("--{}", f.name))
        .collect();
    with_path.sort();
    with_path.dedup();
    format!(
        "_lamplighter() {{\n  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} flags=\n  COMPREPLY=()\n  \
         case $prev in\n    {}) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n  esac\n  \
         if [ \"$COMP_CWORD\" = 1 ]; then\n    mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\")\n    return\n  fi\n  \
         case ${{COMP_WORDS[1]}} in\n{rows}  esac\n  \
         mapfile -t COMPREPLY < <(compgen -W \"$flags {}\" -- \"$cur\")\n}}\ncomplete -F _lamplighter lamplighter\n",
        with_path.join("|"),
        all.join(" "),
        names(COMMON)
    )
}

/// A text in single quotes, for zsh and fish. Texts of the tables have no line break.
fn quoted(text: &str) -> String {
    shq(text).unwrap_or_default()
}

fn zsh(commands: &[&Command]) -> String {
    let spec = |flag: &Flag| {
        let help = flag.help.replace(['[', ']', ':'], " ");
        let action = if is_path(flag) { "_files" } else { " " };
        match flag.value {
            "" => quoted(&format!("--{}[{help}]", flag.name)),
            value => quoted(&format!("--{}=[{help}]:{value}:{action}", flag.name).replace("=[", "[")),
        }
    };
    let specs = |flags: &[Flag]| flags.iter().map(spec).collect::<Vec<_>>().join(" ");
    let mut out = String::from("#compdef lamplighter\nlocal -a known\nknown=(\n");
    for command in commands {
        let row = format!("{}:{}", command.name, command.help.replace(':', "\\:"));
        out.push_str(&format!("  {}\n", quoted(&row)));
    }
    out.push_str(")\nif (( CURRENT == 2 )); then\n  _describe command known\n  return\nfi\ncase $words[2] in\n");
    for command in commands {
        out.push_str(&format!(
            "  {}) _arguments {} {} ;;\n",
            command.name,
            specs(command.flags),
            specs(COMMON)
        ));
    }
    out.push_str("esac\n");
    out
}

fn fish(commands: &[&Command]) -> String {
    let mut out = String::from("complete -c lamplighter -f\n");
    let row = |out: &mut String, when: &str, flag: &Flag| {
        let value = match flag.value {
            "" => "",
            _ if is_path(flag) => " -r -F",
            _ => " -r",
        };
        let help = quoted(flag.help);
        out.push_str(&format!(
            "complete -c lamplighter{when} -l {}{value} -d {help}\n",
            flag.name
        ));
    };
    for command in commands {
        out.push_str(&format!(
            "complete -c lamplighter -n __fish_use_subcommand -a {} -d {}\n",
            command.name,
            quoted(command.help)
        ));
        let when = format!(" -n '__fish_seen_subcommand_from {}'", command.name);
        command.flags.iter().for_each(|flag| row(&mut out, &when, flag));
    }
    COMMON.iter().for_each(|flag| row(&mut out, "", flag));
    out
}
