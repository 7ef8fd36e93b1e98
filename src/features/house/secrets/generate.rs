//! New values, made here: characters, words that can be read aloud, ed25519 keys. All from the operating system's
//! randomness, without a bias.

use crate::base::error::{Error, Result};
use crate::base::random;
use crate::base::secret::Secret;
use crate::base::text::base64;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// Sets of characters. No quotes, backslash, dollar, backtick, colon or blank: a value of these goes through shells,
/// `chpasswd` and addresses' user parts without harm.
pub const SETS: [(&str, &str); 4] = [
    ("lower", "abcdefghijklmnopqrstuvwxyz"),
    ("upper", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ("digits", "0123456789"),
    ("symbols", "!#%&()*+,-./<=>?@[]^_{}~"),
];

/// Characters of a password: fewest, most, and how many where nobody says.
pub const CHARACTERS: (usize, usize, usize) = (12, 256, 24);
/// Words: fewest, most, and how many where nobody says. Each has 16 bits.
pub const WORDS: (usize, usize, usize) = (5, 16, 8);

/// One of `n`, each as likely as any other; `n` is 1 to 256.
fn below(n: usize) -> usize {
    loop {
        let [byte] = random::bytes::<1>();
        if usize::from(byte) < 256 - 256 % n {
            return usize::from(byte) % n;
        }
    }
}

/// So many characters, at least one of each of these sets.
pub fn characters(length: usize, sets: &[&str]) -> Secret {
    let all: Vec<u8> = sets.concat().into_bytes();
    loop {
        let made = Secret::new((0..length).map(|_| all[below(all.len())]).collect::<Vec<u8>>());
        let text = made.reveal_text_for("are all sets in it?");
        if sets.iter().all(|set| text.contains(|c| set.contains(c))) {
            return made;
        }
    }
}

/// So many words of five letters, as proquints (arXiv:0901.4016) are made.
pub fn words(count: usize) -> Secret {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 4] = b"aiou";
    let mut out = Vec::with_capacity(count * 6);
    for n in 0..count {
        if n > 0 {
            out.push(b'-');
        }
        let bits = u16::from_be_bytes(random::bytes());
        for (shift, is_vowel) in [(12, false), (10, true), (6, false), (4, true), (0, false)] {
            let at = usize::from(bits >> shift);
            out.push(if is_vowel { VOWELS[at & 3] } else { CONSONANTS[at & 15] });
        }
    }
    Secret::new(out)
}

/// A new ed25519 key without a passphrase, in OpenSSH's form (PROTOCOL.key): the private key, and the line for
/// `authorized_keys`.
pub fn ed25519() -> Result<(Secret, String)> {
    const KIND: &[u8] = b"ssh-ed25519";
    let seed = Secret::new(random::bytes::<32>());
    let seed = seed.reveal_for("making a key");
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Error::internal("a new ed25519 key"))?;
    let public = pair.public_key().as_ref();
    let blob = [string(KIND), string(public)].concat();
    let check = random::bytes::<4>();
    let both = Secret::new([seed, public].concat());
    let mut inner = [
        &check[..],
        &check,
        &blob,
        &string(both.reveal_for("a private key")),
        &string(b""),
    ]
    .concat();
    inner.extend((1u8..).take((8 - inner.len() % 8) % 8));
    let inner = Secret::new(inner);
    let whole = Secret::new(
        [
            b"openssh-key-v1\0",
            &string(b"none")[..],
            &string(b"none"),
            &string(b""),
            &1u32.to_be_bytes(),
            &string(&blob),
            &string(inner.reveal_for("a private key")),
        ]
        .concat(),
    );
    let coded = Secret::new(base64(whole.reveal_for("a private key")));
    let mut pem = b"-----BEGIN OPENSSH PRIVATE KEY-----\n".to_vec();
    pem.reserve(1_024);
    for line in coded.reveal_for("a private key").chunks(70) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(b"-----END OPENSSH PRIVATE KEY-----\n");
    Ok((Secret::new(pem), format!("ssh-ed25519 {}", base64(&blob))))
}

/// A string of SSH (RFC 4251): its length, then its bytes.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_password_has_its_length_and_every_set_and_no_two_are_the_same() {
        let sets = SETS.map(|(_, set)| set);
        let made: BTreeSet<_> = (0..500)
            .map(|_| characters(12, &sets).reveal_text_for("a test").to_string())
            .collect();
        assert_eq!(made.len(), 500);
        for text in &made {
            assert_eq!(text.len(), 12);
            assert!(sets.iter().all(|set| text.contains(|c| set.contains(c))), "{text}");
        }
        let digits = characters(40, &[SETS[2].1]);
        assert!(digits.reveal_for("a test").iter().all(u8::is_ascii_digit));
    }

    #[test]
    fn every_character_is_as_likely_as_any_other() {
        let mut seen = [0u32; 26];
        for _ in 0..26_000 {
            seen[below(26)] += 1;
        }
        // 1000 each, with a deviation of 31: seven times that is met once in 10^11.
        assert!(seen.iter().all(|n| (780..1_220).contains(n)), "{seen:?}");
    }

    #[test]
    fn words_are_of_five_letters() {
        let made = words(8);
        let text = made.reveal_text_for("a test");
        assert_eq!((text.len(), text.split('-').count()), (47, 8));
        assert!(
            text.split('-')
                .all(|w| w.len() == 5 && w.bytes().all(|b| b.is_ascii_lowercase()))
        );
    }
}
