//! Declared inputs: a row for each field of a body or parameter of a query, with type and bounds. The readers
//! ([`super::Input`], `http::route::Ctx`) use these rows, so the declaration is what is enforced.

use crate::base::shape::Shape;
use std::fmt;
use std::ops::RangeInclusive;

/// One input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Param {
    /// Name in the request.
    pub name: &'static str,
    /// Type and bounds.
    pub kind: Kind,
    /// Is it required for a new object?
    pub required: bool,
    /// Default of a query's number.
    pub default: i64,
    /// Another name of this field, which is required where that is; empty: of none.
    pub alias_of: &'static str,
    /// A value that may be sent, as JSON; empty: what the type allows tells enough.
    pub example: &'static str,
    /// May it refer to a secret of the house instead, `{"secret_id": 5}`?
    pub may_refer: bool,
    /// Description, one sentence.
    pub doc: &'static str,
}

/// Type and bounds of a value. Numbers and flags may be sent as text, too, as forms do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A display name: 1 to 100 characters on one line.
    Name,
    /// Text, trimmed.
    Text {
        /// Longest, in bytes.
        bytes_max: usize,
    },
    /// A text that is never shown again; `null` or an empty text removes it.
    Secret {
        /// Longest, in bytes.
        bytes_max: usize,
    },
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Any value of this type.
    Shaped(&'static Shape),
    /// A whole number, or none by `null` or an empty text.
    MaybeNumber {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number with a fraction.
    Decimal {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// The id of another object, or none by `null` or an empty text.
    Link,
    /// The ids of other objects, without duplicates.
    Links {
        /// Limit.
        count_max: usize,
    },
    /// Texts; or one with commas or spaces between them.
    Words {
        /// Limit.
        count_max: usize,
        /// Each, in bytes.
        bytes_max: usize,
    },
    /// Texts.
    List {
        /// Limit.
        count_max: usize,
        /// Each, in bytes.
        bytes_max: usize,
    },
    /// A JSON object that the feature reads by itself, or its text; `null` or an empty text is none.
    Object,
    /// Things that the feature reads by itself, of this type.
    Items {
        /// Limit.
        count_max: usize,
        /// Of each.
        of: &'static Shape,
    },
}

const fn param(name: &'static str, kind: Kind, doc: &'static str) -> Param {
    Param {
        name,
        kind,
        required: false,
        default: 0,
        alias_of: "",
        example: "",
        may_refer: false,
        doc,
    }
}

/// A row of [`Kind::Name`].
pub const fn name(name: &'static str, doc: &'static str) -> Param {
    param(name, Kind::Name, doc)
}

/// A row of [`Kind::Text`].
pub const fn text(name: &'static str, bytes_max: usize, doc: &'static str) -> Param {
    param(name, Kind::Text { bytes_max }, doc)
}

/// A row of [`Kind::Secret`].
pub const fn secret(name: &'static str, bytes_max: usize, doc: &'static str) -> Param {
    param(name, Kind::Secret { bytes_max }, doc)
}

/// A row of [`Kind::Choice`].
pub const fn choice(name: &'static str, words: &'static [&'static str], doc: &'static str) -> Param {
    param(name, Kind::Choice(words), doc)
}

/// A row of [`Kind::Flag`].
pub const fn flag(name: &'static str, doc: &'static str) -> Param {
    param(name, Kind::Flag, doc)
}

/// A row of [`Kind::Number`].
pub const fn number(name: &'static str, bounds: RangeInclusive<i64>, doc: &'static str) -> Param {
    let (min, max) = (*bounds.start(), *bounds.end());
    param(name, Kind::Number { min, max }, doc)
}

/// A row of [`Kind::Shaped`].
pub const fn shaped(name: &'static str, of: &'static Shape, doc: &'static str) -> Param {
    param(name, Kind::Shaped(of), doc)
}

/// A row of [`Kind::MaybeNumber`].
pub const fn maybe_number(name: &'static str, bounds: RangeInclusive<i64>, doc: &'static str) -> Param {
    let (min, max) = (*bounds.start(), *bounds.end());
    param(name, Kind::MaybeNumber { min, max }, doc)
}

/// A row of [`Kind::Decimal`].
pub const fn decimal(name: &'static str, bounds: RangeInclusive<f64>, doc: &'static str) -> Param {
    let (min, max) = (*bounds.start(), *bounds.end());
    param(name, Kind::Decimal { min, max }, doc)
}

/// A row of [`Kind::Link`].
pub const fn link(name: &'static str, doc: &'static str) -> Param {
    param(name, Kind::Link, doc)
}

/// A row of [`Kind::Links`].
pub const fn links(name: &'static str, count_max: usize, doc: &'static str) -> Param {
    param(name, Kind::Links { count_max }, doc)
}

/// A row of [`Kind::Words`].
pub const fn words(name: &'static str, count_max: usize, bytes_max: usize, doc: &'static str) -> Param {
    param(name, Kind::Words { count_max, bytes_max }, doc)
}

/// A row of [`Kind::List`].
pub const fn list(name: &'static str, count_max: usize, bytes_max: usize, doc: &'static str) -> Param {
    param(name, Kind::List { count_max, bytes_max }, doc)
}

/// See [`Kind::Items`].
pub const fn items(name: &'static str, count_max: usize, of: &'static Shape, doc: &'static str) -> Param {
    param(name, Kind::Items { count_max, of }, doc)
}

/// A row of [`Kind::Object`].
pub const fn object(name: &'static str, doc: &'static str) -> Param {
    param(name, Kind::Object, doc)
}

impl Param {
    /// Marks it as required for a new object.
    pub const fn required(self) -> Param {
        Param { required: true, ..self }
    }

    /// Another name of that field of the same body.
    pub const fn alias_of(self, alias_of: &'static str) -> Param {
        Param { alias_of, ..self }
    }

    /// A value that may be sent, as JSON.
    pub const fn example(self, example: &'static str) -> Param {
        Param { example, ..self }
    }

    /// It may refer to a secret of the house.
    pub const fn or_reference(self) -> Param {
        Param {
            may_refer: true,
            ..self
        }
    }

    /// Sets the default of a query's number.
    pub const fn or(self, default: i64) -> Param {
        Param { default, ..self }
    }
}

/// Concatenates tables of rows; `N` is the total.
pub const fn joined<const N: usize>(tables: &[&[Param]]) -> [Param; N] {
    let mut all = [tables[0][0]; N];
    let (mut n, mut table) = (0, 0);
    while table < tables.len() {
        let mut row = 0;
        while row < tables[table].len() {
            all[n] = tables[table][row];
            (n, row) = (n + 1, row + 1);
        }
        table += 1;
    }
    assert!(n == N);
    all
}

/// The row of this name. An undeclared name is a programming error and panics.
pub fn find(params: &'static [Param], name: &str) -> &'static Param {
    let found = params.iter().find(|param| param.name == name);
    found.unwrap_or_else(|| panic!("{name} is read, and no row of the route's inputs declares it"))
}

/// The type in one line.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Name => f.write_str("name"),
            Kind::Text { bytes_max } => write!(f, "text, up to {bytes_max} bytes"),
            Kind::Secret { bytes_max } => write!(f, "secret, up to {bytes_max} bytes"),
            Kind::Choice(words) => f.write_str(&words.join(" | ")),
            Kind::Flag => f.write_str("flag"),
            Kind::Number { min, max: i64::MAX } => write!(f, "whole number from {min}"),
            Kind::Number { min, max } => write!(f, "whole number from {min} to {max}"),
            Kind::MaybeNumber { min, max } => write!(f, "whole number from {min} to {max} | null"),
            Kind::Decimal { min, max } => write!(f, "number from {min} to {max}"),
            Kind::Link => f.write_str("id | null"),
            Kind::Links { count_max } => write!(f, "up to {count_max} ids"),
            Kind::Words { count_max, bytes_max } => write!(f, "up to {count_max} words of {bytes_max} bytes"),
            Kind::List { count_max, bytes_max } => write!(f, "up to {count_max} texts of {bytes_max} bytes"),
            Kind::Object => f.write_str("object | null"),
            Kind::Items { count_max, of } => write!(f, "up to {count_max} of {of}"),
            Kind::Shaped(of) => of.fmt(f),
        }
    }
}
