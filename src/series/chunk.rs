//! Encoding of series. Values are integers (scaled by unit), in order of time; repetitions are counted: a constant
//! value costs nothing, a noisy one about a byte. Decoding detects malformed bytes and bounds all counts.
//!
//! Both formats start with a format number and the number of points, followed by whole columns: times as differences
//! with repetitions, values as differences (zigzag varint) with counted zeros.

/// One measured value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Unix seconds.
    pub at: u32,
    /// Scaled.
    pub value: i64,
}

/// Aggregate of one time span. Buckets of the same span can be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Unix seconds of the start of the span.
    pub at: u32,
    /// Least value.
    pub min: i64,
    /// Greatest value.
    pub max: i64,
    /// Sum of all values.
    pub sum: i64,
    /// Number of values.
    pub count: u32,
}

impl Bucket {
    /// A bucket of one value.
    pub fn of(at: u32, value: i64) -> Bucket {
        Bucket {
            at,
            min: value,
            max: value,
            sum: value,
            count: 1,
        }
    }

    /// Adds the values of another bucket.
    pub fn add(&mut self, other: &Bucket) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
        self.count = self.count.saturating_add(other.count);
    }
}

const POINTS: u8 = 1;
const BUCKETS: u8 = 2;

/// Longest chunk in points (a span of two hours, one value per second).
const COUNT_MAX: u64 = 7_200;

/// Encodes points in ascending time.
pub fn points(points: &[Point]) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(16 + 2 * points.len()));
    out.0.push(POINTS);
    out.varint(points.len() as u64);
    out.repeats(steps(points.iter().map(|p| p.at)));
    out.walk(points.iter().map(|p| p.value));
    out.0
}

/// Encodes buckets in ascending time.
pub fn buckets(buckets: &[Bucket]) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(16 + 4 * buckets.len()));
    out.0.push(BUCKETS);
    out.varint(buckets.len() as u64);
    out.repeats(steps(buckets.iter().map(|b| b.at)));
    out.repeats(buckets.iter().map(|b| u64::from(b.count)));
    out.walk(buckets.iter().map(|b| b.min));
    out.sparse(buckets.iter().map(|b| (b.max.wrapping_sub(b.min)) as u64));
    out.sparse(
        buckets
            .iter()
            .map(|b| zigzag(b.sum.wrapping_sub(guess(b.min, b.max, b.count)))),
    );
    out.0
}

/// Predicted sum: exact for one or two values; otherwise the difference is encoded.
fn guess(min: i64, max: i64, count: u32) -> i64 {
    min.wrapping_mul(i64::from(count)).wrapping_add(max.wrapping_sub(min))
}

/// Decodes [`points`]. `None`: malformed.
pub fn read_points(bytes: &[u8]) -> Option<Vec<Point>> {
    let (mut input, n) = In::open(bytes, POINTS)?;
    let times = input.times(n)?;
    let values = input.walk(n)?;
    input.0.is_empty().then(|| {
        times
            .into_iter()
            .zip(values)
            .map(|(at, value)| Point { at, value })
            .collect()
    })
}

/// Decodes [`buckets`]. `None`: malformed.
pub fn read_buckets(bytes: &[u8]) -> Option<Vec<Bucket>> {
    let (mut input, n) = In::open(bytes, BUCKETS)?;
    let times = input.times(n)?;
    let counts = input.repeats(n)?;
    let mins = input.walk(n)?;
    let spreads = input.sparse(n)?;
    let rests = input.sparse(n)?;
    let mut out = Vec::with_capacity(n);
    for i in 0..n {
        let (min, max) = (mins[i], mins[i].wrapping_add(spreads[i] as i64));
        let count = u32::try_from(counts[i]).ok()?;
        let sum = unzigzag(rests[i]).wrapping_add(guess(min, max, count));
        out.push(Bucket {
            at: times[i],
            min,
            max,
            sum,
            count,
        });
    }
    input.0.is_empty().then_some(out)
}

/// Encodes the values of one subject at one time: pairs of series id (ascending) and value.
pub fn row(values: &[(u32, i64)]) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(4 * values.len()));
    let mut before = 0;
    for (series, value) in values {
        out.varint(u64::from(series.wrapping_sub(before)));
        out.varint(zigzag(*value));
        before = *series;
    }
    out.0
}

/// Decodes [`row`]. `None`: malformed.
pub fn read_row(bytes: &[u8]) -> Option<Vec<(u32, i64)>> {
    let mut input = In(bytes);
    let (mut out, mut series) = (Vec::new(), 0u32);
    while !input.0.is_empty() {
        series = series.wrapping_add(u32::try_from(input.varint()?).ok()?);
        out.push((series, unzigzag(input.varint()?)));
    }
    Some(out)
}

/// The first value, then differences.
fn steps(times: impl Iterator<Item = u32>) -> impl Iterator<Item = u64> {
    let mut before = 0;
    times.map(move |at| u64::from(at.wrapping_sub(std::mem::replace(&mut before, at))))
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

struct Out(Vec<u8>);

impl Out {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    /// Each value once, with its number of repetitions.
    fn repeats(&mut self, values: impl Iterator<Item = u64>) {
        let mut values = values.peekable();
        while let Some(value) = values.next() {
            let mut more = 0;
            while values.next_if_eq(&value).is_some() {
                more += 1;
            }
            self.varint(value);
            self.varint(more);
        }
    }

    /// Values as they are; zeros are counted.
    fn sparse(&mut self, values: impl Iterator<Item = u64>) {
        let mut values = values.peekable();
        while let Some(value) = values.next() {
            self.varint(value);
            if value == 0 {
                let mut more = 0;
                while values.next_if_eq(&0).is_some() {
                    more += 1;
                }
                self.varint(more);
            }
        }
    }

    /// Differences.
    fn walk(&mut self, values: impl Iterator<Item = i64>) {
        let mut before = 0;
        self.sparse(values.map(|v| zigzag(v.wrapping_sub(std::mem::replace(&mut before, v)))));
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn open(bytes: &'a [u8], format: u8) -> Option<(In<'a>, usize)> {
        let mut input = In(bytes.strip_prefix(&[format])?);
        let n = input.varint()?;
        (n <= COUNT_MAX).then_some((input, n as usize))
    }

    fn varint(&mut self) -> Option<u64> {
        // Nearly all fit one byte.
        if let Some((byte, rest)) = self.0.split_first().filter(|(byte, _)| **byte < 0x80) {
            self.0 = rest;
            return Some(u64::from(*byte));
        }
        let mut n = 0;
        for (i, byte) in self.0.iter().enumerate().take(10) {
            n |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
            if byte & 0x80 == 0 {
                self.0 = &self.0[i + 1..];
                return Some(n);
            }
        }
        None
    }

    /// `n` values; `counted` says which of them are followed by a count of repetitions.
    fn column(&mut self, n: usize, counted: impl Fn(u64) -> bool) -> Option<Vec<u64>> {
        let mut out = Vec::with_capacity(n);
        while out.len() < n {
            let value = self.varint()?;
            if !counted(value) {
                out.push(value);
                continue;
            }
            let more = usize::try_from(self.varint()?).ok()?;
            if more >= n - out.len() {
                return None;
            }
            out.resize(out.len() + 1 + more, value);
        }
        Some(out)
    }

    fn repeats(&mut self, n: usize) -> Option<Vec<u64>> {
        self.column(n, |_| true)
    }

    fn sparse(&mut self, n: usize) -> Option<Vec<u64>> {
        self.column(n, |value| value == 0)
    }

    fn walk(&mut self, n: usize) -> Option<Vec<i64>> {
        let differences = self.sparse(n)?.into_iter().map(unzigzag);
        Some(
            differences
                .scan(0, |value: &mut i64, d| {
                    *value = value.wrapping_add(d);
                    Some(*value)
                })
                .collect(),
        )
    }

    fn times(&mut self, n: usize) -> Option<Vec<u32>> {
        let mut at = 0u32;
        self.repeats(n)?
            .into_iter()
            .map(|step| {
                at = at.wrapping_add(u32::try_from(step).ok()?);
                Some(at)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;

    /// A number of random magnitude, so that small, large and extreme ones occur.
    fn wild() -> i64 {
        (u64::from_le_bytes(random::bytes()) >> random::below(64)) as i64 * if random::below(2) == 0 { 1 } else { -1 }
    }

    fn series() -> Vec<Point> {
        let mut at = random::below(1 << 31) as u32;
        let style = random::below(4);
        let mut value = 0;
        (0..random::below(300))
            .map(|_| {
                at += if random::below(20) == 0 {
                    1 + random::below(90_000) as u32
                } else {
                    30
                };
                value = match style {
                    0 => 7,
                    1 => value + random::below(21) as i64 - 10,
                    2 => wild(),
                    _ => [i64::MIN, i64::MAX, 0, -1][random::below(4) as usize],
                };
                Point { at, value }
            })
            .collect()
    }

    #[test]
    fn whatever_is_written_is_read_again() {
        for _ in 0..500 {
            let all = series();
            assert_eq!(read_points(&points(&all)).as_deref(), Some(&all[..]));

            let rolled: Vec<Bucket> = all
                .iter()
                .map(|p| {
                    let (a, b, n) = (p.value, wild(), 1 + random::below(200) as u32);
                    Bucket {
                        at: p.at,
                        min: a.min(b),
                        max: a.max(b),
                        sum: wild(),
                        count: n,
                    }
                })
                .collect();
            assert_eq!(read_buckets(&buckets(&rolled)).as_deref(), Some(&rolled[..]));

            let values: Vec<(u32, i64)> = all.iter().map(|p| (p.at, p.value)).collect();
            assert_eq!(read_row(&row(&values)), Some(values));
        }
    }

    #[test]
    fn broken_bytes_are_told_and_cost_no_memory() {
        for _ in 0..25 {
            let (good, mut bent) = (series(), points(&series()));
            let whole = points(&good);
            for n in 0..whole.len() {
                assert_eq!(read_points(&whole[..n]), None, "cut at {n}");
            }
            let at = random::below(bent.len() as u64) as usize;
            bent[at] ^= 1 << random::below(8);
            for bytes in [&bent[..], &random::bytes::<64>()] {
                let read = (read_points(bytes), read_buckets(bytes), read_row(bytes));
                assert!(read.0.is_none_or(|p| p.len() <= COUNT_MAX as usize));
            }
        }
        assert_eq!(read_points(&[POINTS, 0xff, 0xff, 0xff, 0xff, 0x0f]), None);
        assert_eq!(read_points(&buckets(&[])), None, "one kind is not the other");
    }

    #[test]
    fn what_is_steady_costs_nothing() {
        let steady: Vec<Point> = (0..240)
            .map(|i| Point {
                at: 1_800_000_000 + 30 * i,
                value: 421,
            })
            .collect();
        assert!(points(&steady).len() < 20, "{}", points(&steady).len());
        let noisy: Vec<Point> = steady
            .iter()
            .map(|p| Point {
                value: 421 + random::below(100) as i64 - 50,
                ..*p
            })
            .collect();
        assert!(points(&noisy).len() < 20 + 2 * 240);
        // Two values in a bucket: the sum follows from minimum and maximum.
        let pairs: Vec<Bucket> = (0..120)
            .map(|i| Bucket {
                at: 60 * i,
                min: 10,
                max: 12,
                sum: 22,
                count: 2,
            })
            .collect();
        assert!(buckets(&pairs).len() < 140, "{}", buckets(&pairs).len());
    }
}
