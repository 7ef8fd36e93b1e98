//! The little of tar (POSIX.1-2001 ustar, as written by every tar) that our archives are: plain files one after the other.

use super::clock::Ms;
use std::io::{self, Read, Write};

const BLOCK: usize = 512;

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Without folders, at most 100 bytes.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// Writes the head of a file; its content follows by [`content`].
pub fn head(out: &mut impl Write, entry: &Entry, at: Ms) -> io::Result<()> {
    let mut block = [0_u8; BLOCK];
    block[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
    octal(&mut block[100..108], 0o600);
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    match entry.size < 1 << 33 {
        true => octal(&mut block[124..136], entry.size),
        false => {
            // What is too long for eleven octal digits is written in base 256 (GNU, star, BSD).
            block[124] = 0x80;
            block[128..136].copy_from_slice(&entry.size.to_be_bytes());
        }
    }
    octal(&mut block[136..148], u64::try_from(at / 1000).unwrap_or(0));
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum = checksum(&block);
    octal(&mut block[148..155], sum);
    block[155] = b' ';
    out.write_all(&block)
}

/// Copies exactly so many bytes and fills up the last block.
pub fn content(out: &mut impl Write, from: &mut impl Read, size: u64) -> io::Result<()> {
    let copied = io::copy(&mut from.take(size), out)?;
    if copied != size {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
    }
    pad(out, size)
}

/// Fills up the last block of a file of this size, whose bytes were written already.
pub fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    out.write_all(&[0; BLOCK][..padding(size)])
}

/// How far it is from the first byte of a file of this size to the next head.
pub fn whole(size: u64) -> i64 {
    i64::try_from(size + padding(size) as u64).unwrap_or(i64::MAX)
}

/// Ends the archive.
pub fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// Reads the head of the next file; nothing at the end of the archive.
pub fn next(from: &mut impl Read) -> io::Result<Option<Entry>> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block)?;
    if block == [0; BLOCK] {
        return Ok(None);
    }
    let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    if &block[257..262] != b"ustar" || number(&block[148..156]) != Some(checksum(&block)) {
        return Err(bad("this is no tar archive, or it is damaged"));
    }
    if !matches!(block[156], b'0' | 0) || block[345] != 0 {
        return Err(bad("the archive holds something that is no plain file"));
    }
    let name = block[..100].split(|b| *b == 0).next().unwrap_or_default();
    let name = String::from_utf8(name.to_vec()).map_err(|_| bad("a file's name is not text"))?;
    let size = match block[124] {
        0x80 => block[128..136].try_into().ok().map(u64::from_be_bytes),
        _ => number(&block[124..136]),
    };
    let size = size.ok_or_else(|| bad("a file's size is no number"))?;
    Ok(Some(Entry { name, size }))
}

/// Reads over what fills up the last block of a file of this size.
pub fn skip_padding(from: &mut impl Read, size: u64) -> io::Result<()> {
    from.read_exact(&mut [0; BLOCK][..padding(size)])
}

fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// Of the head with its own place filled with blanks.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let own = 148..156;
    let byte = |(at, byte): (usize, &u8)| u64::from(if own.contains(&at) { b' ' } else { *byte });
    block.iter().enumerate().map(byte).sum()
}

/// Octal digits up to a final NUL.
fn octal(field: &mut [u8], value: u64) {
    let digits = format!("{value:0width$o}\0", width = field.len() - 1);
    field.copy_from_slice(digits.as_bytes());
}

fn number(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_also_when_it_is_long() {
        for size in [0, 1, 511, 512, 513, (1 << 33) - 1, 1 << 33, 1 << 40] {
            let entry = Entry {
                name: "a.db".into(),
                size,
            };
            let mut out = Vec::new();
            head(&mut out, &entry, 1_700_000_000_000).unwrap();
            assert_eq!(next(&mut &out[..]).unwrap(), Some(entry));
        }
    }

    #[test]
    fn a_changed_head_is_noticed() {
        let mut out = Vec::new();
        head(
            &mut out,
            &Entry {
                name: "a".into(),
                size: 1,
            },
            0,
        )
        .unwrap();
        out[0] = b'b';
        assert!(next(&mut &out[..]).is_err());
    }
}
