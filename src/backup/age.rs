//! Encrypted files of the format age-encryption.org/v1 (C2SP age.md): a header that wraps the file key for a recipient,
//! and the content in chunks of 64 KiB under ChaCha20-Poly1305.
//!
//! For an X25519 recipient (`age1…`) the file is opened by `age` itself. For a passphrase the file key is wrapped by a
//! stanza of our own, because `ring` has no scrypt: such a file is opened by [`Opener`] alone.

use crate::base::error::{Error, Kind, Result};
use crate::base::random;
use crate::base::secret::Secret;
use crate::base::text;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::{hkdf, hmac, pbkdf2};
use std::io::{self, Read, Write};
use std::num::NonZeroU32;

const FIRST_LINE: &str = "age-encryption.org/v1";
/// Our stanza: salt (base64), iterations; its body is the wrapped file key.
const PASSPHRASE: &str = "lamplighter.dev/pbkdf2-sha256";
/// Of PBKDF2-HMAC-SHA256 (OWASP's figure of 2023); what a file says is believed up to ten times of this.
const ITERATIONS: u32 = 600_000;
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;
/// A header of one recipient has some 300 bytes.
const HEADER_MAX: usize = 4096;

/// Who can open the file.
pub enum Recipient {
    /// The holder of the identity that belongs to this public key.
    X25519([u8; 32]),
    /// Whoever knows it.
    Passphrase(Secret),
}

impl Recipient {
    /// Reads a public key as `age-keygen` prints it: `age1` and 58 characters (Bech32, BIP 173).
    pub fn parse(text: &str) -> Result<Recipient> {
        let key = bech32("age", text.trim()).ok_or_else(|| {
            let say =
                "This is no public key of age: it begins with age1 and has 62 characters. Make one with age-keygen.";
            Error::new(Kind::Invalid, "age_recipient", say)
        })?;
        Ok(Recipient::X25519(key))
    }
}

/// Decodes 32 bytes of Bech32 with this prefix; upper and lower case must not be mixed (BIP 173).
fn bech32(prefix: &str, text: &str) -> Option<[u8; 32]> {
    const ALPHABET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    if text.len() != prefix.len() + 1 + 52 + 6 || text.chars().any(|c| c.is_ascii_uppercase()) {
        return None;
    }
    let data = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let values: Vec<u8> = data
        .chars()
        .map(|c| ALPHABET.find(c).map(|at| at as u8))
        .collect::<Option<_>>()?;
    let check = prefix
        .bytes()
        .map(|b| b >> 5)
        .chain([0])
        .chain(prefix.bytes().map(|b| b & 31));
    let polymod = check.chain(values.iter().copied()).fold(1_u32, |sum, value| {
        const GENERATORS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
        let top = sum >> 25;
        let shifted = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        (0..5).fold(shifted, |sum, bit| {
            sum ^ if top >> bit & 1 == 1 { GENERATORS[bit] } else { 0 }
        })
    });
    if polymod != 1 {
        return None;
    }
    let (mut bits, mut held, mut out) = (0_u32, 0, Vec::with_capacity(33));
    for value in &values[..52] {
        (bits, held) = (bits << 5 | u32::from(*value), held + 5);
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    // 52 characters are 260 bits: the last four are padding and must be zero.
    (bits == 0).then_some(out)?.try_into().ok()
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the encrypted file is damaged, or its end is missing",
    )
}

fn derive(salt: &[u8], ikm: &[u8], info: &str) -> Result<[u8; 32]> {
    let mut out = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(ikm)
        .expand(&[info.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .map_err(|_| Error::internal("hkdf"))?;
    Ok(out)
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| Error::internal("a key of a wrong length"))?;
    Ok(LessSafeKey::new(key))
}

/// The file key under a key that is used for it alone, therefore with the nonce 0.
fn wrap(key: &[u8; 32], file_key: &[u8; 16]) -> Result<Vec<u8>> {
    let mut body = file_key.to_vec();
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; NONCE_LEN]), Aad::empty(), &mut body)
        .map_err(|_| Error::internal("sealing failed"))?;
    Ok(body)
}

fn header_key(file_key: &[u8]) -> Result<hmac::Key> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &derive(b"", file_key, "header")?))
}

fn passphrase_key(passphrase: &Secret, salt: &[u8], iterations: u32) -> Result<[u8; 32]> {
    let iterations = NonZeroU32::new(iterations).ok_or_else(|| Error::internal("no iterations"))?;
    let mut key = [0; 32];
    let passphrase = passphrase.reveal_for("the key of a backup");
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, passphrase, &mut key);
    Ok(key)
}

/// Unpadded, as age has it.
fn base64(bytes: &[u8]) -> String {
    text::base64(bytes).trim_end_matches('=').to_string()
}

/// Where the n-th chunk's nonce comes from: a counter of 11 bytes, and 1 with the last.
struct Chunks {
    key: LessSafeKey,
    next: u64,
}

impl Chunks {
    fn new(file_key: &[u8], nonce: &[u8]) -> Result<Chunks> {
        let key = cipher(&derive(nonce, file_key, "payload")?)?;
        Ok(Chunks { key, next: 0 })
    }

    fn nonce(&mut self, is_last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.next.to_be_bytes());
        nonce[11] = u8::from(is_last);
        self.next += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Encrypts what is written. Without [`Sealer::finish`] the file has no end and does not open.
pub struct Sealer<W: Write> {
    out: W,
    chunks: Chunks,
    held: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    /// Writes the header.
    pub fn new(mut out: W, recipient: &Recipient) -> Result<Sealer<W>> {
        let file_key = random::bytes::<16>();
        let (args, body) = match recipient {
            Recipient::X25519(public) => {
                let failed = |_| Error::new(Kind::Invalid, "age_recipient", "This public key cannot be used.");
                let rng = SystemRandom::new();
                let own = EphemeralPrivateKey::generate(&X25519, &rng).map_err(|_| Error::internal("x25519"))?;
                let share = own.compute_public_key().map_err(|_| Error::internal("x25519"))?;
                let salt = [share.as_ref(), public].concat();
                let peer = UnparsedPublicKey::new(&X25519, public);
                let info = "age-encryption.org/v1/X25519";
                let key = agree_ephemeral(own, &peer, |shared| derive(&salt, shared, info)).map_err(failed)??;
                (format!("X25519 {}", base64(share.as_ref())), wrap(&key, &file_key)?)
            }
            Recipient::Passphrase(passphrase) => {
                let salt = random::bytes::<16>();
                let key = passphrase_key(passphrase, &salt, ITERATIONS)?;
                (
                    format!("{PASSPHRASE} {} {ITERATIONS}", base64(&salt)),
                    wrap(&key, &file_key)?,
                )
            }
        };
        // A body of 32 bytes is one line of 43 characters, and so ends the stanza.
        let header = format!("{FIRST_LINE}\n-> {args}\n{}\n---", base64(&body));
        let mac = hmac::sign(&header_key(&file_key)?, header.as_bytes());
        let nonce = random::bytes::<16>();
        writeln!(out, "{header} {}", base64(mac.as_ref()))?;
        out.write_all(&nonce)?;
        let chunks = Chunks::new(&file_key, &nonce)?;
        let held = Vec::with_capacity(CHUNK + TAG);
        Ok(Sealer { out, chunks, held })
    }

    fn flush_chunk(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = self.chunks.nonce(is_last);
        let sealed = self
            .chunks
            .key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut self.held);
        sealed.map_err(|_| io::Error::other("sealing failed"))?;
        self.out.write_all(&self.held)?;
        self.held.clear();
        Ok(())
    }

    /// Writes the last chunk; gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush_chunk(true)?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk stays until it is known that something follows: the last one must not be empty.
        if self.held.len() == CHUNK {
            self.flush_chunk(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.held.len());
        self.held.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does a file that begins so hold anything for age?
pub fn is_age(start: &[u8]) -> bool {
    start.starts_with(FIRST_LINE.as_bytes())
}

/// Decrypts what was sealed for a passphrase.
pub struct Opener<R: Read> {
    from: R,
    chunks: Chunks,
    /// One chunk and a byte of the next, which tells whether it is the last.
    sealed: Vec<u8>,
    plain: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl<R: Read> Opener<R> {
    /// Reads the header. A wrong passphrase, or a file for somebody's key, is [`Kind::Forbidden`].
    pub fn new(mut from: R, passphrase: &Secret) -> Result<Opener<R>> {
        let header = read_header(&mut from)?;
        let malformed = || {
            Error::new(
                Kind::Malformed,
                "backup_file",
                "The header of the encrypted file is damaged.",
            )
        };
        let lines: Vec<&str> = header.lines().collect();
        let [FIRST_LINE, stanza, body, end] = lines[..] else {
            return Err(malformed());
        };
        let args: Vec<&str> = stanza.split(' ').collect();
        let ["->", PASSPHRASE, salt, iterations] = args[..] else {
            let say = "This file was made for a public key. Open it with age first: \
                       age --decrypt --identity KEYFILE FILE | lamplighter restore --file -";
            return Err(Error::new(Kind::Forbidden, "backup_recipient", say));
        };
        let salt = text::unbase64(salt).ok_or_else(malformed)?;
        let iterations: u32 = iterations.parse().map_err(|_| malformed())?;
        if iterations == 0 || iterations > 10 * ITERATIONS {
            return Err(malformed());
        }
        let mut body = text::unbase64(body).filter(|b| b.len() == 32).ok_or_else(malformed)?;
        let wrong = || {
            Error::new(
                Kind::Forbidden,
                "backup_passphrase",
                "This is not the passphrase of this backup.",
            )
        };
        let file_key = cipher(&passphrase_key(passphrase, &salt, iterations)?)?
            .open_in_place(Nonce::assume_unique_for_key([0; NONCE_LEN]), Aad::empty(), &mut body)
            .map_err(|_| wrong())?;
        let mac = end
            .strip_prefix("--- ")
            .and_then(text::unbase64)
            .ok_or_else(malformed)?;
        let signed = &header[..header.len() - end.len() - 1 + 3];
        hmac::verify(&header_key(file_key)?, signed.as_bytes(), &mac).map_err(|_| malformed())?;
        let mut nonce = [0; 16];
        from.read_exact(&mut nonce)?;
        Ok(Opener {
            chunks: Chunks::new(file_key, &nonce)?,
            from,
            sealed: Vec::new(),
            plain: Vec::new(),
            at: 0,
            is_over: false,
        })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let wanted = CHUNK + TAG + 1;
        let missing = wanted - self.sealed.len();
        self.from.by_ref().take(missing as u64).read_to_end(&mut self.sealed)?;
        let is_last = self.sealed.len() < wanted;
        let rest = if is_last {
            Vec::new()
        } else {
            self.sealed.split_off(CHUNK + TAG)
        };
        let mut chunk = std::mem::replace(&mut self.sealed, rest);
        let is_first = self.chunks.next == 0;
        let nonce = self.chunks.nonce(is_last);
        let plain = self
            .chunks
            .key
            .open_in_place(nonce, Aad::empty(), &mut chunk)
            .map_err(|_| broken())?;
        // Only a file without content has an empty last chunk.
        if plain.is_empty() && !is_first {
            return Err(broken());
        }
        let length = plain.len();
        chunk.truncate(length);
        (self.plain, self.at, self.is_over) = (chunk, 0, is_last);
        Ok(())
    }
}

/// Up to the newline that ends the line of the MAC.
fn read_header(from: &mut impl Read) -> Result<String> {
    let mut header = Vec::new();
    let mut byte = [0];
    loop {
        let line = header.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if header.len() >= HEADER_MAX || from.read(&mut byte)? == 0 {
            let say = "This file is encrypted, and its header has no end.";
            return Err(Error::new(Kind::Malformed, "backup_file", say));
        }
        header.push(byte[0]);
        if byte[0] == b'\n' && header[line..].starts_with(b"--- ") {
            break;
        }
    }
    String::from_utf8(header).map_err(|_| Error::new(Kind::Malformed, "backup_file", "The header is not text."))
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if self.is_over {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let given = out.len().min(self.plain.len() - self.at);
        out[..given].copy_from_slice(&self.plain[self.at..self.at + given]);
        self.at += given;
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(content: &[u8]) -> Vec<u8> {
        let recipient = Recipient::Passphrase(Secret::new("correct horse"));
        let mut sealer = Sealer::new(Vec::new(), &recipient).unwrap();
        sealer.write_all(content).unwrap();
        sealer.finish().unwrap()
    }

    fn opened(file: &[u8], passphrase: &str) -> std::result::Result<Vec<u8>, String> {
        let mut opener = Opener::new(file, &Secret::new(passphrase)).map_err(|e| e.code.to_string())?;
        let mut out = Vec::new();
        opener.read_to_end(&mut out).map_err(|e| e.to_string())?;
        Ok(out)
    }

    #[test]
    fn a_passphrase_opens_what_it_sealed_at_every_edge_of_a_chunk() {
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7] {
            let content: Vec<u8> = (0..size).map(|i| i as u8).collect();
            assert!(opened(&sealed(&content), "correct horse").unwrap() == content, "{size}");
        }
    }

    #[test]
    fn what_was_changed_or_cut_does_not_open() {
        let file = sealed(&[7; CHUNK + 5]);
        assert_eq!(opened(&file, "wrong").unwrap_err(), "backup_passphrase");
        let body = file.len() - CHUNK - 5 - 2 * TAG;
        // The header's iterations are left out: a changed figure would be counted to its end.
        for at in [0, 12, body - 10, body - 1, body, body + CHUNK / 2, file.len() - 1] {
            let mut other = file.clone();
            other[at] ^= 1;
            assert!(opened(&other, "correct horse").is_err(), "byte {at} changed");
        }
        for cut in [3, body - 20, body, body + CHUNK + TAG, file.len() - 1] {
            assert!(opened(&file[..cut], "correct horse").is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_public_key_is_read_as_age_prints_it() {
        // From C2SP's test vectors of age.
        let good = "age1xmwwc06ly3ee5rytxm9mflaz2u56jjj36s0mypdrwsvlul66mv4q47ryef";
        assert!(Recipient::parse(good).is_ok());
        for bad in [&good[..61], &good.replace('x', "z"), &good.to_uppercase(), "", "age1"] {
            assert!(Recipient::parse(bad).is_err(), "{bad}");
        }
    }
}
