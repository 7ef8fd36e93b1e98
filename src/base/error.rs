//! The one error type. It carries two sentences: `say` for the person (what was seen, what to do; no secrets or
//! internals) and `log` for the log. `code` is stable and machine-readable; pages look up their text by it.

use std::fmt;

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// The `detail` of every 401 in the API: the code says why, pages have a sentence.
pub const UNAUTHORIZED: &str = "Unauthorized";

/// Kind of failure; decides the HTTP status and the exit code, each in one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be read (400).
    Malformed,
    /// Not signed in, or the token is no longer valid (401).
    Unauthorized,
    /// Signed in, but not allowed (403).
    Forbidden,
    /// The thing does not exist (404).
    NotFound,
    /// The path exists, but not with this method (405).
    Method,
    /// The state does not allow it now: duplicate, in use, already running (409).
    Conflict,
    /// More bytes than this route takes (413).
    TooLarge,
    /// Readable, but some fields are wrong: [`Error::fields`] (422).
    Invalid,
    /// Too many requests; retry after this many seconds (429).
    TooMany(u32),
    /// Another machine gave a bad answer (502).
    Upstream,
    /// Full or stopping; try again later (503).
    Busy,
    /// Another machine did not answer in time (504).
    Timeout,
    /// Configuration, key or schema: starting again will not help (exit 78, sysexits.h `EX_CONFIG`).
    Config,
    /// A fault of Lamplighter (500).
    Internal,
}

/// One wrong field of an input.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Field {
    /// The field's name as in the JSON or form.
    pub field: &'static str,
    /// Stable code, for the catalogue: `required`, `bad_host`, …
    pub code: &'static str,
    /// English sentence: what is wrong, what was seen, what to do.
    pub message: String,
}

/// A failure with its text for the person and for the log.
#[derive(Debug, Clone)]
pub struct Error {
    /// Decides status and exit code.
    pub kind: Kind,
    /// Stable, machine-readable, `snake_case`.
    pub code: &'static str,
    /// For the person.
    pub say: String,
    /// For the log; empty when `say` says it all.
    pub log: String,
    /// Only with [`Kind::Invalid`].
    pub fields: Vec<Field>,
}

impl Error {
    /// An error whose sentence for the person says it all.
    pub fn new(kind: Kind, code: &'static str, say: impl Into<String>) -> Error {
        Error {
            kind,
            code,
            say: say.into(),
            log: String::new(),
            fields: Vec::new(),
        }
    }

    /// A fault of Lamplighter: the person gets a general sentence, the log gets the cause.
    pub fn internal(log: impl fmt::Display) -> Error {
        Error::new(
            Kind::Internal,
            "internal",
            "Lamplighter failed here. The log has the cause under this request's id.",
        )
        .log(log)
    }

    /// There is no `what` (a noun) with this name or number.
    pub fn not_found(what: &str) -> Error {
        Error::new(Kind::NotFound, "not_found", format!("There is no such {what}."))
    }

    /// Input with wrong fields, all of them at once.
    pub fn invalid(fields: Vec<Field>) -> Error {
        let say = match fields.as_slice() {
            [one] => one.message.clone(),
            many => format!("{} fields need a second look.", many.len()),
        };
        Error {
            fields,
            ..Error::new(Kind::Invalid, "invalid", say)
        }
    }

    /// Adds the cause for the log.
    pub fn log(mut self, cause: impl fmt::Display) -> Error {
        self.log = cause.to_string();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.say)?;
        for field in &self.fields {
            write!(f, " {}: {}", field.field, field.message)?;
        }
        match self.log.as_str() {
            "" => Ok(()),
            cause => write!(f, " ({cause})"),
        }
    }
}

impl std::error::Error for Error {}

/// An I/O error that was not converted at its place is internal.
impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Error {
        Error::internal(e)
    }
}
