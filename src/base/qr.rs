//! QR codes (ISO/IEC 18004): bytes at error correction level M, up to 412 of them, as a matrix and as SVG. Enough for an
//! address or the secret of an authenticator.

/// Versions that are made; version `v` has 17 + 4 v modules a side.
const VERSION_MAX: usize = 15;

/// Of level M, by version: error correction bytes of a block, and how many blocks there are (ISO/IEC 18004, table 9).
const LEVEL_M: [(usize, usize); VERSION_MAX] = [
    (10, 1),
    (16, 1),
    (26, 1),
    (18, 2),
    (24, 2),
    (16, 4),
    (18, 4),
    (22, 4),
    (22, 5),
    (26, 5),
    (30, 5),
    (22, 8),
    (22, 9),
    (24, 9),
    (24, 10),
];

/// White modules around a code.
const QUIET: usize = 4;

/// A square of dark and light modules.
#[derive(Clone)]
pub struct Qr {
    size: usize,
    dark: Vec<bool>,
    /// What does not carry data: finders, timing, alignment, format, version.
    fixed: Vec<bool>,
}

impl Qr {
    /// The smallest code that holds this; `None`: it is too long.
    pub fn new(text: &[u8]) -> Option<Qr> {
        let masked = (0..8).map(|mask| Qr::with_mask(text, mask));
        masked.collect::<Option<Vec<_>>>()?.into_iter().min_by_key(Qr::penalty)
    }

    fn with_mask(text: &[u8], mask: u32) -> Option<Qr> {
        let version = (1..=VERSION_MAX).find(|v| bits_needed(*v, text) <= data_bytes(*v) * 8)?;
        let size = 17 + 4 * version;
        let mut qr = Qr {
            size,
            dark: vec![false; size * size],
            fixed: vec![false; size * size],
        };
        qr.draw_fixed(version, mask);
        qr.draw_data(&interleaved(version, &data(version, text)));
        qr.mask(mask);
        Some(qr)
    }

    /// A drawing of it: black on white whatever the page's colours are, one unit a module.
    pub fn svg(&self) -> String {
        let side = self.size + 2 * QUIET;
        let mut path = String::new();
        for y in 0..self.size {
            let mut x = 0;
            while x < self.size {
                let run = (x..self.size).take_while(|x| self.at(*x, y)).count();
                if run > 0 {
                    path += &format!("M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
                }
                x += run.max(1);
            }
        }
        format!(
            "<svg class=\"qr\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\" aria-hidden=\"true\">\
             <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
        )
    }

    fn at(&self, x: usize, y: usize) -> bool {
        self.dark[y * self.size + x]
    }

    fn fix(&mut self, x: usize, y: usize, dark: bool) {
        self.dark[y * self.size + x] = dark;
        self.fixed[y * self.size + x] = true;
    }

    fn draw_fixed(&mut self, version: usize, mask: u32) {
        let last = self.size - 1;
        for i in 0..self.size {
            self.fix(6, i, i % 2 == 0);
            self.fix(i, 6, i % 2 == 0);
        }
        for (x, y) in [(3, 3), (last - 3, 3), (3, last - 3)] {
            self.draw_rings(x, y, 4, |ring| ring != 2 && ring != 4);
        }
        let places = alignment(version);
        let corner = |i: usize| i == 0 || i + 1 == places.len();
        for (i, x) in places.iter().enumerate() {
            for (j, y) in places.iter().enumerate() {
                let is_finder = corner(i) && corner(j) && !(i > 0 && j > 0);
                if !is_finder {
                    self.draw_rings(*x, *y, 2, |ring| ring != 1);
                }
            }
        }
        self.draw_format(mask);
        if version >= 7 {
            let bits = bch(version as u32, 12, 0x1f25);
            for i in 0..18 {
                let (a, b) = (self.size - 11 + i % 3, i / 3);
                self.fix(a, b, bits >> i & 1 == 1);
                self.fix(b, a, bits >> i & 1 == 1);
            }
        }
    }

    /// Squares around a centre, as far as they are inside.
    fn draw_rings(&mut self, x: usize, y: usize, outer: usize, dark: impl Fn(usize) -> bool) {
        for v in y.saturating_sub(outer)..=(y + outer).min(self.size - 1) {
            for h in x.saturating_sub(outer)..=(x + outer).min(self.size - 1) {
                self.fix(h, v, dark(h.abs_diff(x).max(v.abs_diff(y))));
            }
        }
    }

    /// Level and mask, twice. Level M is 0.
    fn draw_format(&mut self, mask: u32) {
        let bits = bch(mask, 10, 0x537) ^ 0x5412;
        let bit = |i: usize| bits >> i & 1 == 1;
        for i in 0..6 {
            self.fix(8, i, bit(i));
        }
        self.fix(8, 7, bit(6));
        self.fix(8, 8, bit(7));
        self.fix(7, 8, bit(8));
        for i in 9..15 {
            self.fix(14 - i, 8, bit(i));
        }
        for i in 0..8 {
            self.fix(self.size - 1 - i, 8, bit(i));
        }
        for i in 8..15 {
            self.fix(8, self.size - 15 + i, bit(i));
        }
        self.fix(8, self.size - 8, true);
    }

    /// The places of the data in their order: in columns of two from the right, up and down by turns.
    fn data_places(&self) -> Vec<usize> {
        let mut places = Vec::new();
        let mut right = self.size - 1;
        let mut upward = true;
        loop {
            for step in 0..self.size {
                let y = if upward { self.size - 1 - step } else { step };
                places.extend([y * self.size + right, y * self.size + right - 1]);
            }
            upward = !upward;
            match right {
                1 => break,
                8 => right = 5, // the column of the timing pattern is left out
                _ => right -= 2,
            }
        }
        places.retain(|place| !self.fixed[*place]);
        places
    }

    fn draw_data(&mut self, bytes: &[u8]) {
        let places = self.data_places();
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 == 1));
        for (place, bit) in places.into_iter().zip(bits) {
            self.dark[place] = bit;
        }
    }

    fn mask(&mut self, mask: u32) {
        for place in 0..self.dark.len() {
            let (x, y) = (place % self.size, place / self.size);
            let flips = match mask {
                0 => (x + y) % 2 == 0,
                1 => y % 2 == 0,
                2 => x % 3 == 0,
                3 => (x + y) % 3 == 0,
                4 => (x / 3 + y / 2) % 2 == 0,
                5 => x * y % 2 + x * y % 3 == 0,
                6 => (x * y % 2 + x * y % 3) % 2 == 0,
                _ => ((x + y) % 2 + x * y % 3) % 2 == 0,
            };
            self.dark[place] ^= flips && !self.fixed[place];
        }
    }

    /// How badly it reads (ISO/IEC 18004, §7.8.3): long runs, blocks, what looks like a finder, too much of one colour.
    fn penalty(&self) -> usize {
        let lines = (0..self.size).flat_map(|i| {
            let row: Vec<bool> = (0..self.size).map(|j| self.at(j, i)).collect();
            let column: Vec<bool> = (0..self.size).map(|j| self.at(i, j)).collect();
            [row, column]
        });
        let runs_and_finders: usize = lines.map(|line| line_penalty(&line)).sum();
        let is_block = |x: usize, y: usize| {
            let all = [(x + 1, y), (x, y + 1), (x + 1, y + 1)];
            all.into_iter().all(|(h, v)| self.at(h, v) == self.at(x, y))
        };
        let inner = 0..self.size - 1;
        let blocks = inner.clone().flat_map(|y| inner.clone().map(move |x| (x, y)));
        let blocks = 3 * blocks.filter(|(x, y)| is_block(*x, *y)).count();
        let (dark, all) = (self.dark.iter().filter(|d| **d).count(), self.dark.len());
        runs_and_finders + blocks + 10 * ((dark * 20).abs_diff(all * 10) / all)
    }
}

fn line_penalty(line: &[bool]) -> usize {
    let runs = line.chunk_by(|a, b| a == b).map(<[bool]>::len);
    let runs: usize = runs.filter(|run| *run >= 5).map(|run| run - 2).sum();
    const FINDER: [bool; 7] = [true, false, true, true, true, false, true];
    // Outside of the code everything is light.
    let light = |from: isize| (from..from + 4).all(|i| !usize::try_from(i).is_ok_and(|i| line.get(i) == Some(&true)));
    let finders = line.windows(7).enumerate().filter(|(_, part)| **part == FINDER);
    let finders: usize = finders
        .map(|(at, _)| usize::from(light(at as isize - 4)) + usize::from(light(at as isize + 7)))
        .sum();
    runs + 40 * finders
}

fn bits_needed(version: usize, text: &[u8]) -> usize {
    4 + length_bits(version) + 8 * text.len()
}

fn length_bits(version: usize) -> usize {
    if version < 10 { 8 } else { 16 }
}

/// All bytes of a version, data and error correction.
fn all_bytes(version: usize) -> usize {
    let mut modules = (16 * version + 128) * version + 64;
    if version >= 2 {
        let along = version / 7 + 2;
        modules -= (25 * along - 10) * along - 55;
    }
    if version >= 7 {
        modules -= 36;
    }
    modules / 8
}

fn data_bytes(version: usize) -> usize {
    let (correction, blocks) = LEVEL_M[version - 1];
    all_bytes(version) - correction * blocks
}

/// Mode, length, text, end, and what fills the rest.
fn data(version: usize, text: &[u8]) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    let mut put = |value: usize, length: usize| bits.extend((0..length).rev().map(|i| value >> i & 1 == 1));
    put(0b0100, 4);
    put(text.len(), length_bits(version));
    text.iter().for_each(|byte| put(usize::from(*byte), 8));
    let capacity = data_bytes(version) * 8;
    bits.resize((bits.len() + 4).min(capacity).next_multiple_of(8), false);
    let bytes = bits
        .chunks(8)
        .map(|byte| byte.iter().fold(0, |all, bit| all << 1 | u8::from(*bit)));
    bytes
        .chain([0xec, 0x11].into_iter().cycle())
        .take(capacity / 8)
        .collect()
}

/// The blocks' data with their error correction, a byte of each by turns.
fn interleaved(version: usize, data: &[u8]) -> Vec<u8> {
    let (correction, count) = LEVEL_M[version - 1];
    let (short, longer) = (data.len() / count, data.len() % count);
    let mut rest = data;
    let mut blocks = Vec::new();
    for n in 0..count {
        let (block, behind) = rest.split_at(short + usize::from(n >= count - longer));
        blocks.push((block, remainder(block, correction)));
        rest = behind;
    }
    let data = (0..=short).flat_map(|i| blocks.iter().filter_map(move |(block, _)| block.get(i)));
    let correction = (0..correction).flat_map(|i| blocks.iter().filter_map(move |(_, code)| code.get(i)));
    data.chain(correction).copied().collect()
}

/// Reed and Solomon's error correction: the remainder of a division by the generator of this degree.
fn remainder(data: &[u8], degree: usize) -> Vec<u8> {
    let mut generator = vec![0; degree];
    generator[degree - 1] = 1;
    let mut root = 1;
    for _ in 0..degree {
        for i in 0..degree {
            generator[i] = times(generator[i], root) ^ generator.get(i + 1).copied().unwrap_or_default();
        }
        root = times(root, 2);
    }
    let mut out = vec![0; degree];
    for byte in data {
        let factor = byte ^ out.remove(0);
        out.push(0);
        for (o, g) in out.iter_mut().zip(&generator) {
            *o ^= times(*g, factor);
        }
    }
    out
}

/// Product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1.
fn times(a: u8, b: u8) -> u8 {
    (0..8).rev().fold(0u8, |all, i| {
        let doubled = (all << 1) ^ ((all >> 7) * 0x1d);
        doubled ^ (((b >> i) & 1) * a)
    })
}

/// A value with its check bits.
fn bch(value: u32, bits: u32, generator: u32) -> u32 {
    let rest = (0..bits).fold(value, |rest, _| (rest << 1) ^ ((rest >> (bits - 1)) * generator));
    (value << bits) | rest
}

/// Where the alignment patterns' centres stand, along one side.
fn alignment(version: usize) -> Vec<usize> {
    if version == 1 {
        return Vec::new();
    }
    let count = version / 7 + 2;
    let step = (version * 8 + count * 3 + 5) / (count * 4 - 4) * 2;
    let mut places: Vec<usize> = (0..count - 1).map(|i| 4 * version + 10 - i * step).collect();
    places.push(6);
    places.reverse();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `qrencode -l M -8 -m 0` makes of the first line.
    const KNOWN: [&str; 3] = [
        include_str!("../../tests/data/qr/short.txt"),
        include_str!("../../tests/data/qr/otpauth.txt"),
        include_str!("../../tests/data/qr/long.txt"),
    ];

    /// The mask that a code says it has.
    fn mask_of(qr: &Qr) -> u32 {
        (0..8)
            .find(|mask| {
                let mut other = qr.clone();
                other.draw_format(*mask);
                other.dark == qr.dark
            })
            .unwrap()
    }

    #[test]
    fn the_codes_are_those_of_qrencode() {
        for known in KNOWN {
            let (text, rows) = known.split_once('\n').unwrap();
            let dark: Vec<bool> = rows.chars().filter(|c| "#.".contains(*c)).map(|c| c == '#').collect();
            let mut qr = Qr::with_mask(text.as_bytes(), 0).unwrap();
            assert_eq!(dark.len(), qr.size * qr.size, "{text}");
            qr.dark = dark;
            let mask = mask_of(&qr);
            assert!(Qr::with_mask(text.as_bytes(), mask).unwrap().dark == qr.dark, "{text}");
        }
    }

    /// Reads a code as a scanner does whose picture is perfect; `None` when a check does not fit.
    fn read(qr: &Qr) -> Option<Vec<u8>> {
        let version = (qr.size - 17) / 4;
        let mut plain = qr.clone();
        plain.mask(mask_of(qr));
        let bits: Vec<bool> = plain.data_places().into_iter().map(|place| plain.dark[place]).collect();
        let byte = |bits: &[bool]| bits.iter().fold(0, |all, bit| all << 1 | u8::from(*bit));
        let bytes: Vec<u8> = bits.chunks(8).take(all_bytes(version)).map(byte).collect();
        let (correction, count) = LEVEL_M[version - 1];
        let (mut blocks, data) = (vec![Vec::new(); count], data_bytes(version));
        let short = data / count;
        let mut bytes = bytes.into_iter();
        for i in 0..=short {
            for (n, block) in blocks.iter_mut().enumerate() {
                if i < short || n >= count - data % count {
                    block.push(bytes.next()?);
                }
            }
        }
        let text = blocks.concat();
        for _ in 0..correction {
            blocks.iter_mut().for_each(|block| block.extend(bytes.next()));
        }
        // A block with its error correction is divided by the generator without a remainder.
        if !blocks
            .iter()
            .all(|block| remainder(block, correction).iter().all(|b| *b == 0))
        {
            return None;
        }
        let bits: Vec<usize> = text
            .iter()
            .flat_map(|b| (0..8).rev().map(move |i| usize::from(b >> i & 1)))
            .collect();
        let number = |from: usize, length: usize| bits[from..from + length].iter().fold(0, |all, bit| all << 1 | bit);
        let head = 4 + length_bits(version);
        let length = number(4, length_bits(version));
        (number(0, 4) == 4).then(|| (0..length).map(|n| number(head + 8 * n, 8) as u8).collect())
    }

    #[test]
    fn whatever_is_written_is_read_again_up_to_the_longest() {
        let most = data_bytes(VERSION_MAX) - 3;
        assert_eq!(most, 412);
        for length in (0..=most)
            .step_by(7)
            .chain([14, 15, 122, 123, 180, 181, 213, 214, most])
        {
            let text: Vec<u8> = (0..length).map(|n| (n * 37 + length) as u8).collect();
            let qr = Qr::new(&text).unwrap();
            assert_eq!(read(&qr).as_deref(), Some(text.as_slice()), "{length}");
            let mut broken = qr.clone();
            let place = broken.data_places()[8 + length % 8];
            broken.dark[place] ^= true;
            assert_ne!(read(&broken).as_deref(), Some(text.as_slice()), "{length}");
        }
        assert!(Qr::new(&vec![0; most + 1]).is_none());
    }

    #[test]
    fn a_drawing_has_every_dark_module() {
        let qr = Qr::new(b"HELLO-lamp").unwrap();
        let svg = qr.svg();
        let path = svg.split("d=\"").nth(2).unwrap().split('"').next().unwrap();
        let run = |part: &str| part.split(['h', 'v']).nth(1).unwrap().parse::<usize>().unwrap();
        let drawn: usize = path.split('M').skip(1).map(run).sum();
        assert_eq!(drawn, qr.dark.iter().filter(|dark| **dark).count());
        assert!(svg.contains("viewBox=\"0 0 29 29\""));
    }
}
