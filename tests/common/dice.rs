//! Generated input: the same in every run of `tests/run`, more and different in `tests/long`.

/// A xorshift generator (Vigna's xorshift64*, the upper bits).
pub struct Dice(u64);

impl Dice {
    /// From this seed, which `LAMPLIGHTER_SEED` moves. A test that fails says what it rolled, so both can be repeated.
    pub fn new(seed: u64) -> Dice {
        Dice((seed ^ from_environment("LAMPLIGHTER_SEED", 0)).max(1))
    }

    /// A number below `below`.
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }

    /// One of these.
    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }
}

/// How many rounds of made-up input a test takes: `usual`, times `LAMPLIGHTER_ROUNDS`.
pub fn rounds(usual: usize) -> usize {
    usual * from_environment("LAMPLIGHTER_ROUNDS", 1) as usize
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}
