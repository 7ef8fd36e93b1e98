//! Quoting of values for a remote shell. Only this function quotes; scripts are constants.

use super::error::{Error, Kind, Result};

/// Quotes a value: `it's` → `'it'\''s'`. Error: it holds NUL, CR or LF, which no value needs.
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

/// `NAME='value'` lines to put before a script. Names are constants: `[A-Z][A-Z0-9_]*`. Error: as [`shq`].
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
