//! A value that must not be shown: no `Debug` text, no `Display`, no `Serialize`, zeroed on drop.

/// Secret bytes. Reading them needs [`Secret::reveal_for`], which names the purpose.
#[derive(Default, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes ownership of the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(bytes.into())
    }

    /// The bytes; `purpose` is for the reader of the code and for `grep`.
    pub fn reveal_for(&self, purpose: &'static str) -> &[u8] {
        let _ = purpose;
        &self.0
    }

    /// The bytes as text; invalid UTF-8 gives an empty text (secrets are made from text).
    pub fn reveal_text_for(&self, purpose: &'static str) -> &str {
        std::str::from_utf8(self.reveal_for(purpose)).unwrap_or_default()
    }

    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Explicit, because a copy is a second place to zero.
impl Clone for Secret {
    fn clone(&self) -> Self {
        Secret(self.0.clone())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0); // keeps the optimiser from dropping the fill
    }
}
