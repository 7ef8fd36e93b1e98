//! Units: what a value counts, its stored precision, and its unit in exported metrics.

use crate::base::shape::described;

/// Unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// 0 to 100.
    Percent,
    /// Processes running or waiting.
    Load,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Counts: cores, restarts.
    Count,
}
described!(Unit: "percent", "load", "seconds", "milliseconds", "bytes", "bytes_per_second", "count");

/// Names in the series table. Never changed once released.
const NAMES: [(Unit, &str); 7] = [
    (Unit::Percent, "percent"),
    (Unit::Load, "load"),
    (Unit::Seconds, "seconds"),
    (Unit::Milliseconds, "milliseconds"),
    (Unit::Bytes, "bytes"),
    (Unit::BytesPerSecond, "bytes_per_second"),
    (Unit::Count, "count"),
];

impl Unit {
    /// Name in the series table and in JSON.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(unit, _)| *unit == self)
            .map_or("", |(_, name)| name)
    }

    /// The unit of a name.
    pub fn parse(name: &str) -> Option<Unit> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(unit, _)| *unit)
    }

    /// Value of one stored step. Glances gives percentages with one digit; charts do not show less than 100 B/s. Never
    /// changed once released.
    fn step(self) -> f64 {
        match self {
            Unit::Percent => 0.1,
            Unit::Load => 0.01,
            Unit::BytesPerSecond => 100.0,
            Unit::Seconds | Unit::Milliseconds | Unit::Bytes | Unit::Count => 1.0,
        }
    }

    /// Converts to stored steps.
    pub fn to_steps(self, value: f64) -> i64 {
        (value / self.step()).round() as i64
    }

    /// Converts from stored steps, without digits beyond the precision.
    pub fn of_steps(self, steps: f64) -> f64 {
        let value = steps * self.step();
        (value * 1_000.0).round() / 1_000.0
    }

    /// Rounds to the stored precision.
    pub fn rounded(self, value: f64) -> f64 {
        self.of_steps(self.to_steps(value) as f64)
    }

    /// Factor to the exported unit, where percent are ratios and milliseconds are seconds.
    fn base(self) -> f64 {
        match self {
            Unit::Percent => 0.01,
            Unit::Milliseconds => 0.001,
            _ => 1.0,
        }
    }

    /// Converts to Prometheus' base unit, rounded to the measured precision.
    pub fn to_base(self, value: f64) -> f64 {
        (value * self.base() * 1e6).round() / 1e6
    }

    /// Converts from Prometheus' base unit.
    pub fn of_base(self, value: f64) -> f64 {
        value / self.base()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_the_digits_that_glances_sends() {
        assert_eq!(Unit::Percent.rounded(97.9), 97.9);
        assert_eq!(Unit::Load.rounded(5.012_207), 5.01);
        assert_eq!(Unit::BytesPerSecond.to_steps(1e15), 10_000_000_000_000);
        assert_eq!(Unit::Percent.to_base(97.9), 0.979);
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for (unit, name) in NAMES {
            assert_eq!((Unit::parse(name), unit.name()), (Some(unit), name));
            assert_eq!(serde_json::to_string(&unit).unwrap(), format!("\"{name}\""));
        }
    }
}
