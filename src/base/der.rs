//! DER (X.690 §10) as far as certificates need it: definite lengths in their shortest form, tag numbers below 31. The
//! reader borrows, does not recurse and does not allocate.

/// A reader: the bytes that are not read yet.
#[derive(Debug, Clone, Copy)]
pub struct Der<'a>(&'a [u8]);

/// One TLV value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// The identifier octet: class, constructed or not, number.
    pub tag: u8,
    /// What is inside.
    pub content: &'a [u8],
    /// Tag, length and content.
    pub whole: &'a [u8],
}

/// BOOLEAN.
pub const BOOLEAN: u8 = 0x01;
/// INTEGER.
pub const INTEGER: u8 = 0x02;
/// BIT STRING.
pub const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub const OID: u8 = 0x06;
/// SEQUENCE (OF).
pub const SEQUENCE: u8 = 0x30;
/// SET (OF).
pub const SET: u8 = 0x31;

/// Number of length bytes that are accepted; longer values (16 MiB and up) do not occur here.
const LENGTH_BYTES_MAX: usize = 3;

impl<'a> Der<'a> {
    /// A reader at the start of these bytes.
    pub fn new(bytes: &'a [u8]) -> Der<'a> {
        Der(bytes)
    }

    /// Has everything been read?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value's tag, without reading it.
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value; `None` when there is none or it is not DER.
    pub fn value(&mut self) -> Option<Value<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None; // a tag of several bytes
        }
        let (length, head) = match first {
            short @ 0..0x80 => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7f);
                let bytes = rest.get(..count)?;
                let length = bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b));
                // 0x80 is the indefinite form; a leading zero or a length below 128 has a shorter one.
                if !(1..=LENGTH_BYTES_MAX).contains(&count) || bytes[0] == 0 || length < 0x80 {
                    return None;
                }
                (length, 2 + count)
            }
        };
        let whole = self.0.get(..head + length)?;
        self.0 = &self.0[whole.len()..];
        Some(Value {
            tag,
            content: &whole[head..],
            whole,
        })
    }

    /// The next value; `None` unless it has this tag.
    pub fn take(&mut self, tag: u8) -> Option<Value<'a>> {
        self.value().filter(|value| value.tag == tag)
    }

    /// The next value if it has this tag; the outer `None` means malformed DER.
    pub fn maybe(&mut self, tag: u8) -> Option<Option<Value<'a>>> {
        match self.peek() {
            Some(found) if found == tag => self.value().map(Some),
            _ => Some(None),
        }
    }

    /// A reader for the content of the next value; `None` unless it has this tag.
    pub fn open(&mut self, tag: u8) -> Option<Der<'a>> {
        self.take(tag).map(|value| Der(value.content))
    }

    /// `None` if anything is left.
    pub fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Writes one value: tag, length in its shortest form, content. What is written here is far below 16 MiB.
pub fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|b| **b == 0).count()..];
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(short as u8),
        _ => {
            out.push(0x80 | significant.len() as u8);
            out.extend_from_slice(significant);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = vec![7; length];
            let whole = write(OCTET_STRING, &content);
            let value = Der::new(&whole).take(OCTET_STRING).unwrap();
            assert_eq!((value.content, value.whole), (&*content, &*whole), "{length}");
        }
    }

    #[test]
    fn only_the_one_right_form_is_read() {
        let long = [&[0x30, 0x81, 0x80][..], &[0; 0x80]].concat();
        for good in [&[0x02, 0x01, 0x05][..], &[0x05, 0x00], &long] {
            let mut der = Der::new(good);
            let value = der.value().unwrap();
            assert_eq!(value.whole, good);
            assert_eq!(der.end(), Some(()));
        }
        for bad in [
            &[][..],
            &[0x02],
            &[0x02, 0x02, 0x05],                   // cut short
            &[0x30, 0x80, 0x00, 0x00],             // indefinite
            &[0x02, 0x81, 0x01, 0x05],             // a long length for a short value
            &[0x02, 0x82, 0x00, 0x01, 0x05],       // a leading zero
            &[0x1f, 0x81, 0x01, 0x00],             // a tag of several bytes
            &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff], // 4 GiB
            &[0x04, 0xff],
        ] {
            assert_eq!(Der::new(bad).value(), None, "{bad:02x?}");
        }
    }
}
