//! Sparklines and bars as short texts, drawn by the pages' script.

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
