//! How lines are stored: each as number and time since the line before, stream and level, length, text.

use super::level::Level;
use super::line::{Line, Stream};

/// Appends a line after one with this number and time; the first of a row follows `(0, 0)`.
pub fn push(out: &mut Vec<u8>, before: (i64, i64), line: &Line) {
    put(out, line.id.wrapping_sub(before.0) as u64);
    put(out, line.at.wrapping_sub(before.1) as u64);
    out.push(line.stream as u8 | (line.level as u8) << 2);
    put(out, line.text.len() as u64);
    out.extend_from_slice(line.text.as_bytes());
}

/// A stored line in its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// As [`Line::id`].
    pub id: i64,
    /// As [`Line::at`].
    pub at: i64,
    /// As [`Line::stream`].
    pub stream: Stream,
    /// As [`Line::level`].
    pub level: Level,
    from: u32,
    to: u32,
}

impl Seen {
    /// Its text in the bytes that it was read from; empty if these are damaged.
    pub fn text(self, data: &[u8]) -> &str {
        let bytes = data.get(self.from as usize..self.to as usize).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The line on its own.
    pub fn line(self, data: &[u8]) -> Line {
        Line {
            id: self.id,
            at: self.at,
            stream: self.stream,
            level: self.level,
            text: self.text(data).into(),
        }
    }
}

/// Appends the lines of a row; what is damaged ends it.
pub fn read(data: &[u8], seen: &mut Vec<Seen>) {
    let (mut at, mut before) = (0, (0i64, 0i64));
    while at < data.len() {
        let Some(one) = one(data, &mut at, before) else { return };
        before = (one.id, one.at);
        seen.push(one);
    }
}

fn one(data: &[u8], at: &mut usize, before: (i64, i64)) -> Option<Seen> {
    let id = before.0.wrapping_add(take(data, at)? as i64);
    let time = before.1.wrapping_add(take(data, at)? as i64);
    let kind = *data.get(*at)?;
    *at += 1;
    let length = usize::try_from(take(data, at)?).ok()?;
    let (from, to) = (*at, at.checked_add(length).filter(|to| *to <= data.len())?);
    *at = to;
    Some(Seen {
        id,
        at: time,
        stream: Stream::of_number(kind & 3),
        level: Level::of_number(kind >> 2),
        from: u32::try_from(from).ok()?,
        to: u32::try_from(to).ok()?,
    })
}

/// LEB128.
fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take(data: &[u8], at: &mut usize) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let byte = *data.get(*at)?;
        *at += 1;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_and_damage_ends_a_row() {
        let lines = [(1, 5), (2, 5), (90, 1_764_473_839_123_456_789)].map(|(id, at)| Line {
            id,
            at,
            stream: Stream::of_number(id as u8 % 3),
            level: Level::of_number(id as u8 % 7),
            text: format!("строка {id}").into(),
        });
        let (mut data, mut before) = (Vec::new(), (0, 0));
        for line in &lines {
            push(&mut data, before, line);
            before = (line.id, line.at);
        }
        let all = |data: &[u8]| {
            let mut seen = Vec::new();
            read(data, &mut seen);
            seen.iter().map(|one| one.line(data)).collect::<Vec<_>>()
        };
        assert_eq!(all(&data), lines);
        for cut in 0..data.len() {
            let some = all(&data[..cut]);
            assert_eq!(some, lines[..some.len()]);
        }
        all(&[0xff; 64]);
        all(&[1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }
}
