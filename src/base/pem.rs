//! PEM as it is pasted (RFC 7468 and older forms): several blocks, text around them, CRLF, indentation, a byte order
//! mark, lines of any length. The content may be a key, so it is treated as secret whatever its label says.

use super::error::{Error, Kind, Result};
use super::secret::Secret;
use super::text;

/// One block.
#[derive(Debug)]
pub struct Block {
    /// `CERTIFICATE`, `PRIVATE KEY`, …
    pub label: String,
    /// Its headers say that its content is encrypted (RFC 1421, as `openssl rsa -aes256` writes them).
    pub is_encrypted: bool,
    /// The decoded content.
    pub der: Secret,
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// The longest label in use is `ENCRYPTED PRIVATE KEY`.
const LABEL_MAX: usize = 40;
/// Characters of a line (RFC 7468 §2: 64) with its line end.
const LINE: usize = 64;

/// All blocks of a text, at most `count_max`. Errors: `pem_none`, `pem_cut`, `pem_broken`, `pem_many`; none shows the text.
pub fn blocks(text: &str, count_max: usize) -> Result<Vec<Block>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((label, after)) = next(rest) {
        let wrong = |code, say| Err(Error::new(Kind::Invalid, code, say));
        let end = format!("{END}{label}{DASHES}");
        let cut = |body: &str| body.contains(BEGIN);
        let Some((body, tail)) = after.split_once(end.as_str()).filter(|(body, _)| !cut(body)) else {
            let say = format!(
                "The block {BEGIN}{label}{DASHES} has no {end} at its end. Paste it whole, both lines included."
            );
            return wrong("pem_cut", say);
        };
        if out.len() == count_max {
            return wrong("pem_many", format!("There are more than {count_max} PEM blocks here."));
        }
        let Some(block) = read(label, body) else {
            let say = format!(
                "What stands between {BEGIN}{label}{DASHES} and its end is not Base64. Was it damaged on the way?"
            );
            return wrong("pem_broken", say);
        };
        out.push(block);
        rest = tail;
    }
    if out.is_empty() {
        let say = "There is no PEM block here. It begins with a line like -----BEGIN CERTIFICATE-----.";
        return Err(Error::new(Kind::Invalid, "pem_none", say));
    }
    Ok(out)
}

/// The label of the next block and what follows its first line.
fn next(text: &str) -> Option<(&str, &str)> {
    let mut rest = text;
    loop {
        let (_, after) = rest.split_once(BEGIN)?;
        let known = |label: &str| {
            (1..=LABEL_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ')
        };
        match after.split_once(DASHES) {
            Some((label, body)) if known(label) => return Some((label, body)),
            _ => rest = after,
        }
    }
}

fn read(label: &str, body: &str) -> Option<Block> {
    let mut is_encrypted = false;
    let mut digits = String::with_capacity(body.len());
    for line in body.lines() {
        match line.contains(':') {
            true => is_encrypted |= line.contains("ENCRYPTED"), // `Proc-Type: 4,ENCRYPTED`
            false => digits.extend(line.chars().filter(|c| !c.is_whitespace())),
        }
    }
    let read = text::unbase64(&digits).map(Secret::new);
    drop(Secret::new(digits)); // zeroed on drop
    Some(Block {
        label: label.into(),
        is_encrypted,
        der: read.filter(|der| !der.is_empty())?,
    })
}

/// Writes one block.
pub fn write(label: &str, der: &[u8]) -> String {
    let digits = text::base64(der);
    // Allocated at its final size: growing would leave copies behind.
    let mut out = String::with_capacity(digits.len() + digits.len() / LINE + 2 * (LABEL_MAX + 20));
    out.extend([BEGIN, label, DASHES, "\n"]);
    let mut rest = digits.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(LINE));
        out.extend([line, "\n"]);
        rest = tail;
    }
    out.extend([END, label, DASHES, "\n"]);
    drop(Secret::new(digits)); // zeroed: it may hold a key
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Vec<(String, Vec<u8>)> {
        let read = blocks(text, 8).unwrap();
        let plain = |b: Block| (b.label, b.der.reveal_for("a test").to_vec());
        read.into_iter().map(plain).collect()
    }

    fn code(text: &str) -> &'static str {
        blocks(text, 2).expect_err("an error").code
    }

    #[test]
    fn what_is_written_is_read_back_however_it_was_pasted() {
        let der: Vec<u8> = (0..200).collect();
        let one = write("CERTIFICATE", &der);
        assert!(one.lines().all(|line| line.len() <= 64));
        let known = vec![("CERTIFICATE".to_string(), der.clone())];
        for text in [
            one.clone(),
            format!("\u{feff}{one}"),
            one.replace('\n', "\r\n"),
            one.replace('\n', "\n    "),
            one.replace('\n', " "),
            format!(" 0 s:CN = shop.example\n   i:C = US\n{one}---\nServer certificate\n"),
            format!("-----BEGIN of the story-----\n{one}"),
        ] {
            assert_eq!(read_all(&text), known, "{text}");
        }
        assert_eq!(read_all(&format!("{one}{one}")).len(), 2);
    }

    #[test]
    fn what_is_damaged_is_told_by_name_and_not_shown() {
        let one = write("PRIVATE KEY", b"s3cret-s3cret-s3cret");
        assert_eq!(code("no block"), "pem_none");
        assert_eq!(code(&one.replace("-----END", "")), "pem_cut");
        assert_eq!(code(&format!("{}{one}", &one[..40])), "pem_cut");
        assert_eq!(code(&one.replace("MzY", "§§§").replace("cz", "!!")), "pem_broken");
        assert_eq!(code("-----BEGIN X-----\n-----END X-----"), "pem_broken");
        assert_eq!(code(&one.repeat(3)), "pem_many");
        let broken = blocks(&one.replace("cz", "!!"), 2).expect_err("an error").to_string();
        assert!(!broken.contains("M2NyZXQ"), "{broken}");
    }

    #[test]
    fn an_old_encrypted_key_is_seen_by_its_headers() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----";
        assert!(blocks(text, 1).unwrap()[0].is_encrypted);
    }
}
