//! Sparklines and bars as short texts, drawn by the pages' script.

use crate::base::clock::{self, HOUR, Ms};

/// One character encodes 0 to 63: a sparkline of an hour is 60 bytes.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Shares as one character each; a gap is `_`.
pub fn spark(points: impl IntoIterator<Item = Option<f64>>) -> String {
    let digit = |v: f64| DIGITS[(v.clamp(0.0, 100.0) / 100.0 * 63.0).round() as usize] as char;
    points
        .into_iter()
        .map(|p| p.filter(|v| v.is_finite()).map_or('_', digit))
        .collect()
}

/// Counts as one character each, for bars.
pub fn bars(counts: impl IntoIterator<Item = u64>) -> String {
    counts.into_iter().map(|n| DIGITS[n.min(63) as usize] as char).collect()
}

/// How many of these times, unix ms, fall into each of the last 24 hours, for bars.
pub fn hours(times: impl IntoIterator<Item = Ms>) -> String {
    let now = clock::now();
    let mut counts = [0; 24];
    for at in times {
        let ago = (now - at).div_euclid(HOUR);
        if (0..24).contains(&ago) {
            counts[23 - ago as usize] += 1;
        }
    }
    bars(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_as_one_character_each() {
        assert_eq!(
            spark([Some(0.0), None, Some(100.0), Some(f64::NAN), Some(400.0)]),
            "A_/_/"
        );
    }
}
