//! One-time codes from a shared secret and the clock, as every authenticator makes them: RFC 6238 with SHA-1, 30 seconds,
//! six digits.

use crate::base::text::percent_encode;
use ring::hmac;

/// Seconds of one step.
pub const STEP_S: i64 = 30;

/// Bytes of a secret: as long as SHA-1's output (RFC 4226 §4, R6).
pub const SECRET_BYTES: usize = 20;

const DIGITS: usize = 6;

/// Clocks may be so many steps apart (RFC 6238 §5.2).
const SKEW: i64 = 1;

/// The code of one step (RFC 4226 §5.3).
pub fn code(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[tag.len() - 1] & 15);
    let number = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
    format!("{:0DIGITS$}", number % 10u32.pow(DIGITS as u32))
}

/// The step after `last` that this code is of, at this time in seconds: each code is good once.
pub fn step_of(secret: &[u8], typed: &str, now_s: i64, last: i64) -> Option<i64> {
    let now = now_s / STEP_S;
    let steps = (now - SKEW..=now + SKEW).filter(|step| *step > last);
    // All are made, whichever fits: how long it takes says nothing.
    let fitting: Vec<i64> = steps.filter(|step| same(&code(secret, *step), typed)).collect();
    fitting.first().copied()
}

fn same(one: &str, other: &str) -> bool {
    let differ = one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differ == 0
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Base32 without padding (RFC 4648 §6).
pub fn base32(bytes: &[u8]) -> String {
    let digit = |n: usize| {
        let (byte, bit) = (n * 5 / 8, n * 5 % 8);
        let pair = u16::from_be_bytes([bytes[byte], bytes.get(byte + 1).copied().unwrap_or_default()]);
        BASE32[usize::from(pair >> (11 - bit) & 31)] as char
    };
    (0..(bytes.len() * 8).div_ceil(5)).map(digit).collect()
}

/// What authenticators read out of a QR code (the "Key Uri Format"). Digits, period and algorithm are the format's own.
pub fn uri(secret: &str, login: &str) -> String {
    let login = percent_encode(login);
    format!("otpauth://totp/Lamplighter:{login}?secret={secret}&issuer=Lamplighter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        let secret = b"12345678901234567890";
        // Appendix B, the last six of eight digits.
        for (time, wanted) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(secret, time / STEP_S), wanted, "{time}");
        }
    }

    #[test]
    fn a_code_is_good_a_step_before_and_after_and_once() {
        let secret = b"12345678901234567890";
        let now = 1_234_567_890;
        let step = now / STEP_S;
        for near in [step - 1, step, step + 1] {
            assert_eq!(step_of(secret, &code(secret, near), now, 0), Some(near));
            assert_eq!(step_of(secret, &code(secret, near), now, near), None, "taken before");
        }
        for far in [step - 2, step + 2] {
            assert_eq!(step_of(secret, &code(secret, far), now, 0), None);
        }
        for bad in ["", "00592", "0059240", "00592a"] {
            assert_eq!(step_of(secret, bad, now, 0), None, "{bad}");
        }
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), coded);
        }
        assert_eq!(
            uri("MZXW6YTB", "anna@x"),
            "otpauth://totp/Lamplighter:anna%40x?secret=MZXW6YTB&issuer=Lamplighter"
        );
    }
}
