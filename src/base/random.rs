//! Randomness from the operating system. Without it nothing here is safe, so its failure ends the process.

use ring::rand::{SecureRandom, SystemRandom};

/// `N` random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    SystemRandom::new()
        .fill(&mut out)
        .expect("the operating system gives no randomness");
    out
}

/// A token of 256 bits in base64url (43 characters).
pub fn token() -> String {
    super::text::base64url(&bytes::<32>())
}

/// A name of 128 bits in hex (32 characters), for files, sockets and markers.
pub fn name() -> String {
    super::text::hex(&bytes::<16>())
}

/// A number below `n` (not for secrets: the bias of the remainder is ignored).
pub fn below(n: u64) -> u64 {
    u64::from_le_bytes(bytes()) % n.max(1)
}
