//! Values for a remote shell. The one function that quotes; scripts themselves are constants.

use super::error::{Error, Kind, Result};

/// `it's` → `'it'\''s'`. Refuses NUL, CR and LF, which no value of ours needs and which would end a line or a string.
pub fn shq(value: &str) -> Result<String> {
    if value.contains(['\0', '\r', '\n']) {
        return Err(Error::new(
            Kind::Malformed,
            "line_break_in_value",
            "A value that goes to a server may not contain a line break or NUL.",
        ));
    }
    Ok(format!("'{}'", value.replace('\'', r"'\''")))
}

/// `NAME='value'` lines that stand before a script. Names are ours: `[A-Z][A-Z0-9_]*`.
pub fn assignments(values: &[(&'static str, &str)]) -> Result<String> {
    let mut out = String::new();
    for (name, value) in values {
        debug_assert!(
            name.bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        );
        out.push_str(&format!("{name}={}\n", shq(value)?));
    }
    Ok(out)
}
