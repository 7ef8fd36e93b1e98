//! The Prometheus text format, version 0.0.4: families with HELP and TYPE, one line per value. Names follow its
//! conventions: base units, ratios from 0 to 1, `_total` for counters.

use std::fmt::Write;

/// The media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only increases, except for restarts.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// A sum and a count.
    Summary,
    /// As a summary, with buckets.
    Histogram,
}

/// An exposition under construction.
#[derive(Default)]
pub struct Text(pub String);

impl Text {
    /// Begins a family; its values must follow directly.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
            Kind::Histogram => "histogram",
        };
        for part in ["# HELP ", name, " "] {
            self.0.push_str(part);
        }
        escape(&mut self.0, help, false);
        for part in ["\n# TYPE ", name, " ", kind, "\n"] {
            self.0.push_str(part);
        }
    }

    /// Appends one value; escapes labels.
    pub fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            self.0.push(if n == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            escape(&mut self.0, text, true);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.0.push(' ');
        number(&mut self.0, value);
        self.0.push('\n');
    }

    /// A family of one value without labels.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.value(name, &[], value);
    }
}

fn number(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let _ = write!(out, "{value}"); // writing to a String cannot fail
    }
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_labels_and_numbers_are_written_as_the_format_wants_them() {
        let mut text = Text::default();
        text.family("lamp_lit", Kind::Gauge, "Is it\nlit? \\ \"yes\"");
        text.value("lamp_lit", &[("server", "a\"b\\c\nd"), ("x", "é")], 0.25);
        text.value("lamp_lit", &[], f64::NAN);
        text.one("big_total", Kind::Counter, "Much.", 1e15);
        text.one("inf", Kind::Gauge, "All.", f64::NEG_INFINITY);
        assert_eq!(
            text.0,
            "# HELP lamp_lit Is it\\nlit? \\\\ \"yes\"\n# TYPE lamp_lit gauge\n\
             lamp_lit{server=\"a\\\"b\\\\c\\nd\",x=\"é\"} 0.25\nlamp_lit NaN\n\
             # HELP big_total Much.\n# TYPE big_total counter\nbig_total 1000000000000000\n\
             # HELP inf All.\n# TYPE inf gauge\ninf -Inf\n"
        );
    }
}
