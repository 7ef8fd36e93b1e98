//! How much of a certificate's life is left. Judged by its share, so that one of an hour and one of a year are watched
//! alike: renewal belongs into the last third (as certbot does it), and the last tenth is late.

use crate::base::clock::{DAY, Ms};
use crate::base::shape::described;
use crate::provision::site::RENEW_TWELFTHS;
use serde::Serialize;

/// Stage of a certificate's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// More than a third is left.
    Ok,
    /// A third or less: to be renewed.
    Soon,
    /// A tenth or less: renewal is late.
    Urgent,
    /// Expired.
    Over,
}
described!(Stage: "ok", "soon", "urgent", "over");

/// The stage at `now`. A certificate that is not valid yet has all its life left.
pub fn stage(not_before: Ms, not_after: Ms, now: Ms) -> Stage {
    let whole = not_after.saturating_sub(not_before).max(1);
    let left = not_after.saturating_sub(now);
    match left {
        ..0 => Stage::Over,
        left if left <= whole / 10 => Stage::Urgent,
        left if left <= whole / 3 => Stage::Soon,
        _ => Stage::Ok,
    }
}

/// Beginning of the current stage, unix ms. `None`: [`Stage::Ok`].
pub fn since(not_before: Ms, not_after: Ms, now: Ms) -> Option<Ms> {
    let whole = not_after.saturating_sub(not_before).max(1);
    match stage(not_before, not_after, now) {
        Stage::Ok => None,
        Stage::Soon => Some(not_after.saturating_sub(whole / 3)),
        Stage::Urgent => Some(not_after.saturating_sub(whole / 10)),
        Stage::Over => Some(not_after),
    }
}

/// Is renewal due, before any alert?
pub fn is_due(not_before: Ms, not_after: Ms, now: Ms) -> bool {
    left(not_before, not_after, now, 12) < RENEW_TWELFTHS
}

/// Whole days left; negative after expiry.
pub fn days_left(not_after: Ms, now: Ms) -> i64 {
    not_after.saturating_sub(now).div_euclid(DAY)
}

/// The remaining share, in units of `of`.
pub fn left(not_before: Ms, not_after: Ms, now: Ms, of: i64) -> i64 {
    let whole = not_after.saturating_sub(not_before).max(1);
    let left = not_after.saturating_sub(now).clamp(0, whole);
    (i128::from(left) * i128::from(of) / i128::from(whole)) as i64
}

/// Width of a drawn life.
const WIDTH: i64 = 600;
/// Width of one label.
const WORDS: i64 = 90;

/// Who renews it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// Lamplighter, shortly before the last third.
    ByUs,
    /// A person, in the last third.
    ByHand,
}

/// A life as a line of 600 units: issued at 0, expiry at 600. All values are positions on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Start of the renewal period.
    window: i64,
    /// Length of the renewal period.
    window_width: i64,
    /// Now, clamped to the line.
    now: i64,
    /// The label of now ends at its mark instead of beginning there.
    now_before: bool,
    /// Start of the renewal period, unix ms.
    renew_at: Ms,
}

/// Computes the [`Line`].
pub fn line(not_before: Ms, not_after: Ms, renewed: Renewed, now: Ms) -> Line {
    let whole = not_after.saturating_sub(not_before).max(1);
    let now = WIDTH - left(not_before, not_after, now, WIDTH);
    let twelfths = match renewed {
        Renewed::ByUs => RENEW_TWELFTHS,
        Renewed::ByHand => 4,
    };
    let window = WIDTH - WIDTH * twelfths / 12;
    Line {
        window,
        window_width: WIDTH - window,
        now,
        now_before: now > WIDTH - WORDS,
        renew_at: not_after.saturating_sub(whole / 12 * twelfths),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::HOUR;

    #[test]
    fn the_last_third_is_soon_and_the_last_tenth_urgent_whatever_the_length() {
        for whole in [HOUR, 90 * DAY, 10 * 365 * DAY] {
            let at = |share: Ms| stage(0, whole, whole - whole / 1000 * share);
            assert_eq!(at(1000), Stage::Ok);
            assert_eq!(at(334), Stage::Ok);
            assert_eq!(at(333), Stage::Soon);
            assert_eq!(at(101), Stage::Soon);
            assert_eq!(at(100), Stage::Urgent);
            assert_eq!(at(0), Stage::Urgent);
            assert_eq!(stage(0, whole, whole + 1), Stage::Over);
        }
        assert_eq!(stage(10 * DAY, 11 * DAY, 0), Stage::Ok);
        assert_eq!(stage(5, 5, 5), Stage::Urgent);
        assert_eq!(stage(Ms::MIN, Ms::MAX, 0), Stage::Ok);
    }

    #[test]
    fn it_is_known_since_when_and_a_renewal_comes_a_look_before_the_last_third() {
        for whole in [HOUR, 90 * DAY] {
            let at = |twelfths: Ms| whole / 12 * twelfths;
            assert_eq!(since(0, whole, at(7)), None);
            assert_eq!(since(0, whole, at(9)), Some(at(8)));
            assert_eq!(since(0, whole, whole), Some(whole - whole / 10));
            assert_eq!(since(0, whole, whole + 1), Some(whole));
            assert!(!is_due(0, whole, at(7)) && is_due(0, whole, at(7) + 1) && is_due(0, whole, whole + 1));
        }
        assert!(!is_due(DAY, 2 * DAY, 0), "its time has not come");
    }

    #[test]
    fn a_day_counts_when_it_is_whole() {
        assert_eq!(days_left(DAY, 0), 1);
        assert_eq!(days_left(DAY - 1, 0), 0);
        assert_eq!(days_left(0, 1), -1);
    }

    #[test]
    fn a_line_keeps_now_on_it() {
        assert_eq!(line(0, 90 * DAY, Renewed::ByHand, 45 * DAY).now, 300);
        assert_eq!(line(0, 90 * DAY, Renewed::ByHand, 100 * DAY).now, 600);
        assert_eq!(line(0, 90 * DAY, Renewed::ByHand, -DAY).now, 0);
        assert!(line(0, 90 * DAY, Renewed::ByHand, 85 * DAY).now_before);
        assert_eq!(line(0, 90 * DAY, Renewed::ByHand, 0).renew_at, 60 * DAY);
        let ours = line(0, 90 * DAY, Renewed::ByUs, 0);
        assert_eq!((ours.window, ours.renew_at), (350, 52 * DAY + DAY / 2));
    }
}
