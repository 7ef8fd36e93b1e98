//! Forecast of full disks from the last hours in half-hour steps: the median rise says how fast, so that one large file
//! has no effect; the regression line and the last two hours must agree. Falls in between are assumed to recur. The
//! disk must also be fuller than in the days before, which excludes daily patterns.

/// Trend of a disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// Percent per hour.
    pub per_hour: f64,
    /// Hours until full; infinite if it does not fill.
    pub hours: f64,
    /// Steps: unix seconds and percent.
    pub steps: Vec<(i64, f64)>,
}

/// Period examined, in seconds.
pub const WINDOW_S: i64 = 6 * 3_600;
/// Period in which the disk must not have been as full, in seconds.
pub const BEFORE_S: i64 = 3 * 24 * 3_600;
const STEP_S: i64 = 1_800;
/// Six steps have five differences: a jump spoils two of them, and the median is still right.
const STEPS_MIN: usize = 6;
/// Steps of the last two hours: a fill that has stopped does not count.
const LATEST: usize = 4;
/// Minimum rise in percent: less is measurement noise.
const RISE_MIN: f64 = 1.0;
/// Percent above the maximum of the days before.
const ABOVE: f64 = 2.0;

/// The trend of these points (unix seconds and percent, ascending); `None`: unknown.
pub fn estimate(points: &[(i64, f64)]) -> Option<Trend> {
    let steps = steps(points);
    let level = points.last()?.1;
    if steps.len() < STEPS_MIN {
        return None;
    }
    let per_hour = middle(&steps)
        .min(line(&steps))
        .min(line(&steps[steps.len() - LATEST..]));
    let span_h = hours(steps.first()?.0, steps.last()?.0);
    let fills = per_hour * span_h >= RISE_MIN && fall(&steps) < per_hour.max(RISE_MIN);
    Some(Trend {
        per_hour,
        hours: if fills {
            ((100.0 - level) / per_hour).max(0.0)
        } else {
            f64::INFINITY
        },
        steps,
    })
}

/// Is it fuller than before? `before` is the earlier maximum, if known.
pub fn is_new(now: f64, before: Option<f64>) -> bool {
    before.is_none_or(|most| now >= most + ABOVE)
}

fn hours(from: i64, to: i64) -> f64 {
    (to - from) as f64 / 3_600.0
}

/// Means of half hours, at the middle of their points.
fn steps(points: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let mean = |part: &[(i64, f64)]| {
        let n = part.len() as f64;
        let at = part.iter().map(|p| p.0).sum::<i64>() / part.len() as i64;
        (at, part.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunk_by(|a, b| a.0 / STEP_S == b.0 / STEP_S).map(mean).collect()
}

/// Median rise per step, in percent per hour.
fn middle(steps: &[(i64, f64)]) -> f64 {
    let rise = |w: &[(i64, f64)]| (w[1].1 - w[0].1) / hours(w[0].0, w[1].0);
    let mut rises: Vec<f64> = steps.windows(2).map(rise).collect();
    rises.sort_by(f64::total_cmp);
    rises[(rises.len() - 1) / 2] // of two medians the smaller
}

/// Slope of the regression line, in percent per hour.
fn line(steps: &[(i64, f64)]) -> f64 {
    let n = steps.len() as f64;
    let x = |at: i64| hours(steps[0].0, at);
    let mean_x = steps.iter().map(|s| x(s.0)).sum::<f64>() / n;
    let mean_y = steps.iter().map(|s| s.1).sum::<f64>() / n;
    let (mut over, mut under) = (0.0, 0.0);
    for (at, value) in steps {
        over += (x(*at) - mean_x) * (value - mean_y);
        under += (x(*at) - mean_x).powi(2);
    }
    if under > 0.0 { over / under } else { 0.0 }
}

/// Largest fall, in percent.
fn fall(steps: &[(i64, f64)]) -> f64 {
    let (mut height, mut deepest) = (f64::MIN, 0.0f64);
    for (_, value) in steps {
        height = height.max(*value);
        deepest = deepest.max(height - value);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six hours in steps of ten minutes: percent with one digit.
    fn disk(fill: impl Fn(f64) -> f64) -> Vec<(i64, f64)> {
        let value = |h: f64| (fill(h) * 10.0).round() / 10.0;
        (0..36).map(|n| (n * 600, value(n as f64 / 6.0))).collect()
    }

    #[test]
    fn a_steady_fill_says_when_it_is_full() {
        let trend = estimate(&disk(|h| 60.0 + 2.5 * h)).unwrap();
        assert!((trend.per_hour - 2.5).abs() < 0.1, "{trend:?}");
        assert!((trend.hours - 10.2).abs() < 0.5, "{trend:?}");
        assert_eq!(trend.steps.len(), 12);
        // Slow: takes weeks.
        assert!(estimate(&disk(|h| 97.0 + 0.3 * h)).unwrap().hours > 3.0);
    }

    #[test]
    fn a_jump_a_saw_and_noise_say_nothing() {
        type Fill = fn(f64) -> f64;
        let cases: [(&str, Fill); 8] = [
            ("one big copy", |h| if h < 3.0 { 40.0 } else { 80.0 }),
            ("a copy that took an hour", |h| 40.0 + 40.0 * (h - 2.0).clamp(0.0, 1.0)),
            ("rotated every two hours", |h| 80.0 + 5.0 * (h % 2.0)),
            ("rotated in the middle", |h| {
                if h < 3.0 { 80.0 + 5.0 * h } else { 65.0 + 5.0 * h }
            }),
            ("rotated long ago", |h| {
                if h < 0.7 { 80.0 + 5.0 * h } else { 60.0 + 5.0 * h }
            }),
            ("stopped by now", |h| 60.0 + 5.0 * h.min(3.8)),
            ("up and down", |h| 80.0 + (h * 9.0).sin()),
            ("emptied slowly", |h| 90.0 - h),
        ];
        for (what, fill) in cases {
            let trend = estimate(&disk(fill)).unwrap();
            assert!(trend.hours.is_infinite(), "{what}: {trend:?}");
        }
    }

    #[test]
    fn a_fill_is_seen_through_a_jump() {
        let trend = estimate(&disk(|h| 20.0 + 3.0 * h + if h < 2.0 { 0.0 } else { 30.0 })).unwrap();
        assert!((trend.per_hour - 3.0).abs() < 0.2, "{trend:?}");
    }

    #[test]
    fn too_little_is_no_trend_and_what_was_there_before_is_no_news() {
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&disk(|h| 60.0 + 2.5 * h)[..14]), None);
        let same: Vec<_> = disk(|h| 60.0 + 2.5 * h).into_iter().map(|(_, v)| (0, v)).collect();
        assert_eq!(estimate(&same), None);
        assert!(is_new(70.0, None) && is_new(70.0, Some(60.0)));
        assert!(!is_new(70.0, Some(95.0)) && !is_new(70.0, Some(69.0)));
    }
}
