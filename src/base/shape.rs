//! The JSON types of our answers, made from the same source as the Rust types: [`described!`] declares a struct, its
//! `Serialize` and its [`Shape`] at once. Routes declare their answers with it.

use crate::base::id::Id;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

/// A type of JSON values.
#[derive(Debug, PartialEq)]
pub enum Shape {
    /// Any JSON: output of another program, passed on.
    Any,
    /// `true` or `false`.
    Flag,
    /// A number without a fraction.
    Whole,
    /// The number of a thing, from 1.
    Id,
    /// A number.
    Number,
    /// A text.
    Text,
    /// A number or a text.
    Scalar,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Values of one type in their order.
    List(&'static Shape),
    /// An object with any names, and values of one type.
    Map(&'static Shape),
    /// The type, or `null`.
    Nullable(&'static Shape),
    /// One type or the other.
    Either(&'static Shape, &'static Shape),
    /// An object with these members and no others.
    Object(&'static Object),
}

/// An object type: name, documentation, members.
#[derive(Debug)]
pub struct Object {
    /// Path of the Rust type, which is unique; empty for an anonymous type.
    pub name: &'static str,
    /// The documentation of the Rust type.
    pub doc: &'static [&'static str],
    /// In the order of serialization. A function, because the features declare those of the fleet's document.
    pub members: fn() -> &'static [Member],
}

/// Types with a name are compared by it, anonymous ones by their members.
impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        self.name == other.name && (!self.name.is_empty() || (self.members)() == (other.members)())
    }
}

/// A member of an [`Object`].
#[derive(Debug, PartialEq)]
pub struct Member {
    /// Name in JSON.
    pub name: &'static str,
    /// Documentation of the field.
    pub doc: &'static [&'static str],
    /// Type of the value.
    pub shape: &'static Shape,
    /// Always there, optional, flattened or never.
    pub presence: Presence,
}

/// When a member is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Always.
    Always,
    /// May be left out.
    Optional,
    /// The members of its value take its place (`#[serde(flatten)]`).
    Flat,
    /// Never sent.
    Never,
}

/// A Rust type whose JSON has a known [`Shape`]. Secrets have none, so no answer can hold one.
pub trait Described {
    /// Type of the JSON that `Serialize` makes.
    const SHAPE: &'static Shape;
}

/// Declares a struct with its `Serialize` and its [`Shape`], or gives the words of an enum of unit variants that has
/// its own `Serialize`:
///
/// ```ignore
/// described! {
///     /// A group as the API shows it.
///     pub struct View<'a> {
///         id: Id<id::Group>,
///         /// Display name.
///         name: &'a str,
///         #[serde(skip_serializing_if = "Option::is_none")]
///         domains: Option<Vec<DomainView<'a>>>,
///     }
/// }
/// described!(Status: "healthy", "degraded", "unhealthy");
/// ```
///
/// Of a field's attributes for serde it knows `flatten`, `rename`, `skip_serializing_if`, `skip` and `default`; any other
/// does not compile.
macro_rules! described {
    ($name:ty: $($word:literal),+ $(,)?) => {
        impl $name {
            /// The words, in the order of the variants.
            #[allow(dead_code, reason = "not every type is chosen from by its words")]
            pub const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl $crate::base::shape::Described for $name {
            const SHAPE: &'static $crate::base::shape::Shape = &$crate::base::shape::Shape::Choice(Self::WORDS);
        }
    };
    ($(
        $(#[doc = $doc:literal])*
        $(#[derive($($derive:path),* $(,)?)])?
        $(#[serde($($whole:tt)*)])?
        $vis:vis struct $name:ident $(<$life:lifetime>)? {
            $($(#[doc = $field_doc:literal])* $(#[serde($($serde:tt)*)])? $field_vis:vis $field:ident: $type:ty),* $(,)?
        }
    )+) => {$(
        $(#[doc = $doc])*
        #[derive(serde::Serialize $($(, $derive)*)?)]
        $(#[serde($($whole)*)])?
        $vis struct $name $(<$life>)? {
            $($(#[doc = $field_doc])* $(#[serde($($serde)*)])? $field_vis $field: $type,)*
        }

        impl $(<$life>)? $crate::base::shape::Described for $name $(<$life>)? {
            const SHAPE: &'static $crate::base::shape::Shape =
                &$crate::base::shape::Shape::Object(&$crate::base::shape::Object {
                    name: concat!(module_path!(), "::", stringify!($name)),
                    doc: &[$($doc),*],
                    members: || const { &[$($crate::base::shape::Member {
                        name: $crate::base::shape::described!(@name $field $($($serde)*)?),
                        doc: &[$($field_doc),*],
                        shape: <$type as $crate::base::shape::Described>::SHAPE,
                        presence: $crate::base::shape::described!(@presence $($($serde)*)?),
                    }),*] },
                });
        }
    )+};
    (@name $field:ident rename = $name:literal) => { $name };
    (@name $field:ident $($other:tt)*) => { $crate::base::shape::plain(stringify!($field)) };
    (@presence) => { $crate::base::shape::Presence::Always };
    (@presence rename = $name:literal) => { $crate::base::shape::Presence::Always };
    (@presence skip_serializing_if = $test:literal) => { $crate::base::shape::Presence::Optional };
    (@presence flatten) => { $crate::base::shape::Presence::Flat };
    (@presence skip) => { $crate::base::shape::Presence::Never };
    (@presence default) => { $crate::base::shape::Presence::Always };
}
pub(crate) use described;

/// A field's name as serde writes it: `r#type` is `type`.
pub const fn plain(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

macro_rules! basic {
    ($($shape:ident: $($type:ty),*;)*) => {
        $($(impl Described for $type {
            const SHAPE: &'static Shape = &Shape::$shape;
        })*)*
    };
}

basic! {
    Any: Value;
    Flag: bool;
    Whole: i64, u8, u16, u32, u64, usize;
    Number: f64;
    Text: char, str, String, IpAddr;
}

impl<T> Described for Id<T> {
    const SHAPE: &'static Shape = &Shape::Id;
}

impl<T: Described + ?Sized> Described for &T {
    const SHAPE: &'static Shape = T::SHAPE;
}

impl<T: Described + ?Sized> Described for Box<T> {
    const SHAPE: &'static Shape = T::SHAPE;
}

impl<T: Described + ToOwned + ?Sized> Described for Cow<'_, T> {
    const SHAPE: &'static Shape = T::SHAPE;
}

impl<T: Described> Described for Option<T> {
    const SHAPE: &'static Shape = &Shape::Nullable(T::SHAPE);
}

impl<T: Described> Described for [T] {
    const SHAPE: &'static Shape = &Shape::List(T::SHAPE);
}

impl<T: Described, const N: usize> Described for [T; N] {
    const SHAPE: &'static Shape = &Shape::List(T::SHAPE);
}

impl<T: Described> Described for Vec<T> {
    const SHAPE: &'static Shape = &Shape::List(T::SHAPE);
}

impl<K, T: Described> Described for BTreeMap<K, T> {
    const SHAPE: &'static Shape = &Shape::Map(T::SHAPE);
}

impl<K, T: Described> Described for HashMap<K, T> {
    const SHAPE: &'static Shape = &Shape::Map(T::SHAPE);
}

/// Stored JSON text of type `T`, sent as it is.
pub struct Stored<'a, T>(&'a RawValue, PhantomData<fn() -> T>);

impl<'a, T> Stored<'a, T> {
    /// Wraps JSON that was read or made elsewhere.
    pub fn new(json: &'a RawValue) -> Stored<'a, T> {
        Stored(json, PhantomData)
    }

    /// `None` if this is not JSON.
    pub fn parse(text: &'a str) -> Option<Stored<'a, T>> {
        serde_json::from_str(text).ok().map(Stored::new)
    }
}

impl<T> Serialize for Stored<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<T: Described> Described for Stored<'_, T> {
    const SHAPE: &'static Shape = T::SHAPE;
}

/// A point of a chart.
impl Described for (i64, f64, f64, f64) {
    const SHAPE: &'static Shape = &Shape::List(&Shape::Number);
}

impl Described for serde_json::Map<String, Value> {
    const SHAPE: &'static Shape = &Shape::Map(&Shape::Any);
}

impl Shape {
    /// Is this JSON of the type? Error: where it is not, and why.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let good = match (self, value) {
            (Shape::Any, _) | (Shape::Flag, Value::Bool(_)) | (Shape::Nullable(_), Value::Null) => true,
            (Shape::Id, Value::Number(n)) => n.as_u64().is_some_and(|n| n > 0),
            (Shape::Whole, Value::Number(n)) => n.is_i64() || n.is_u64(),
            (Shape::Number | Shape::Scalar, Value::Number(_)) | (Shape::Text | Shape::Scalar, Value::String(_)) => true,
            (Shape::Choice(words), Value::String(text)) => words.contains(&text.as_str()),
            (Shape::Nullable(inner), value) => return inner.check(value),
            (Shape::Either(one, other), value) => one.check(value).is_ok() || other.check(value).is_ok(),
            (Shape::List(of), Value::Array(items)) => {
                let mut items = items.iter().enumerate();
                return items.try_for_each(|(n, item)| of.check(item).map_err(|e| format!("[{n}]{e}")));
            }
            (Shape::Map(of), Value::Object(all)) => {
                return all
                    .iter()
                    .try_for_each(|(name, value)| of.check(value).map_err(|e| format!(".{name}{e}")));
            }
            (Shape::Object(_), Value::Object(all)) => {
                let mut missing = None;
                let mut known = Vec::new();
                let mut rest = None;
                self.members(false, &mut |member, always| match (member, all.get(member.name)) {
                    (
                        Member {
                            shape: Shape::Map(of),
                            presence: Presence::Flat,
                            ..
                        },
                        _,
                    ) => rest = Some(*of),
                    (_, None) if always => missing = Some(member.name),
                    _ => known.push(member),
                });
                if let Some(name) = missing {
                    return Err(format!(".{name} is missing"));
                }
                return all.iter().try_for_each(|(name, value)| {
                    let of = known.iter().find(|m| m.name == name).map(|m| m.shape).or(rest);
                    let of = of.ok_or_else(|| format!(".{name} is not declared"))?;
                    of.check(value).map_err(|e| format!(".{name}{e}"))
                });
            }
            _ => false,
        };
        match good {
            true => Ok(()),
            false => Err(format!(" is not {self}")),
        }
    }

    /// Calls `each` with every member of an object ([`Object::each_member`]).
    pub fn members(&self, optional: bool, each: &mut dyn FnMut(&'static Member, bool)) {
        match self {
            Shape::Nullable(inner) => inner.members(true, each),
            Shape::Object(object) => object.each_member(optional, each),
            _ => {}
        }
    }

    /// Calls `each` with every named object type in it, outer before inner.
    pub fn objects(&self, each: &mut dyn FnMut(&'static Object)) {
        match self {
            Shape::List(inner) | Shape::Map(inner) | Shape::Nullable(inner) => inner.objects(each),
            Shape::Either(one, other) => [one, other].iter().for_each(|shape| shape.objects(each)),
            Shape::Object(object) => {
                if !object.name.is_empty() {
                    each(object);
                }
                (object.members)().iter().for_each(|member| member.shape.objects(each));
            }
            _ => {}
        }
    }
}

impl Member {
    /// A member that is always there.
    pub const fn always(name: &'static str, shape: &'static Shape) -> Member {
        Member {
            name,
            doc: &[],
            shape,
            presence: Presence::Always,
        }
    }
}

impl Member {
    /// A member that may be left out.
    pub const fn optional(name: &'static str, shape: &'static Shape) -> Member {
        Member {
            presence: Presence::Optional,
            ..Member::always(name, shape)
        }
    }
}

impl Object {
    /// Calls `each` with every member, those of flat ones in their places; with it: is it always there? A flat map stands
    /// for itself. In an `optional` object none has to be there.
    pub fn each_member(&self, optional: bool, each: &mut dyn FnMut(&'static Member, bool)) {
        for member in (self.members)() {
            match (member.presence, member.shape) {
                (Presence::Never, _) => {}
                (Presence::Flat, Shape::Map(_)) => each(member, false),
                (Presence::Flat, inner) => inner.members(optional, each),
                (presence, _) => each(member, !optional && presence == Presence::Always),
            }
        }
    }

    /// Its name for people: the feature and the type, without the path to the feature.
    pub fn short(&self) -> String {
        let parts: Vec<_> = self.name.split("::").collect();
        let from = parts.iter().position(|part| *part == "features").map_or(1, |at| at + 2);
        let kept = parts[from.min(parts.len() - 1)..]
            .iter()
            .filter(|part| !matches!(**part, "api" | "model"));
        kept.copied().collect::<Vec<_>>().join("::")
    }
}

/// A type in one line: objects with a name by it, others written out.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Any => f.write_str("any"),
            Shape::Flag => f.write_str("flag"),
            Shape::Whole => f.write_str("whole number"),
            Shape::Id => f.write_str("id"),
            Shape::Number => f.write_str("number"),
            Shape::Text => f.write_str("text"),
            Shape::Scalar => f.write_str("number or text"),
            Shape::Choice(words) => f.write_str(&words.join(" | ")),
            Shape::List(of) => write!(f, "[{of}]"),
            Shape::Map(of) => write!(f, "{{*: {of}}}"),
            Shape::Nullable(of) => write!(f, "{of} | null"),
            Shape::Either(one, other) => write!(f, "{one} | {other}"),
            Shape::Object(object) if object.name.is_empty() => {
                let members: Vec<_> = (object.members)().iter().map(ToString::to_string).collect();
                write!(f, "{{{}}}", members.join(", "))
            }
            Shape::Object(object) => f.write_str(&object.short()),
        }
    }
}

/// `name: type`, `name?: type` where it may be left out, `..type` where its members stand in its place.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.presence, self.shape) {
            (Presence::Always, shape) => write!(f, "{}: {shape}", self.name),
            (Presence::Optional, Shape::Nullable(shape)) => write!(f, "{}?: {shape}", self.name),
            (Presence::Optional, shape) => write!(f, "{}?: {shape}", self.name),
            (Presence::Flat, shape) => write!(f, "..{shape}"),
            (Presence::Never, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    described! {
        /// Of one
        /// and more.
        #[derive(Default)]
        struct Outer<'a> {
            /// Its id.
            id: i64,
            r#type: &'a str,
            #[serde(rename = "from")]
            origin: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            more: Option<Vec<Inner>>,
            #[serde(flatten)]
            also: Option<Inner>,
            state: State,
        }

        /// A part.
        #[derive(Default)]
        struct Inner {
            of: BTreeMap<String, f64>,
        }
    }

    #[derive(serde::Serialize, Default)]
    #[serde(rename_all = "lowercase")]
    enum State {
        #[default]
        Up,
        Down,
    }
    described!(State: "up", "down");

    fn check(value: impl serde::Serialize) -> Result<(), String> {
        Outer::SHAPE.check(&serde_json::to_value(value).unwrap())
    }

    #[test]
    fn what_a_declared_struct_sends_is_what_it_says() {
        let inner = || Inner {
            of: [("a".to_string(), 0.5)].into(),
        };
        assert_eq!(check(Outer::default()), Ok(()));
        let all = Outer {
            origin: Some("x".into()),
            more: Some(vec![inner()]),
            also: Some(inner()),
            ..Outer::default()
        };
        assert_eq!(check(all), Ok(()));
        assert_eq!(
            check(Outer {
                state: State::Down,
                ..Outer::default()
            }),
            Ok(())
        );
    }

    #[test]
    fn what_differs_is_named_with_its_place() {
        let good = json!({ "id": 1, "type": "a", "from": null, "state": "up" });
        assert_eq!(check(&good), Ok(()));
        let with = |name: &str, value: Value| {
            let mut all = good.clone();
            all[name] = value;
            check(all).unwrap_err()
        };
        assert_eq!(with("id", json!(1.5)), ".id is not whole number");
        assert_eq!(with("type", json!(null)), ".type is not text");
        assert_eq!(with("state", json!("lit")), ".state is not up | down");
        assert_eq!(
            with("more", json!([{ "of": { "a": "b" } }])),
            ".more[0].of.a is not number"
        );
        assert_eq!(with("more", json!([{}])), ".more[0].of is missing");
        assert_eq!(with("other", json!(1)), ".other is not declared");
        assert_eq!(check(json!({ "id": 1 })).unwrap_err(), ".state is missing");
        assert_eq!(check(json!([])).unwrap_err(), " is not base::shape::tests::Outer");
    }

    #[test]
    fn a_type_is_written_on_one_line() {
        let Shape::Object(outer) = Outer::SHAPE else { panic!() };
        let members: Vec<_> = (outer.members)().iter().map(ToString::to_string).collect();
        let inner = "base::shape::tests::Inner";
        assert_eq!(
            members,
            [
                "id: whole number",
                "type: text",
                "from: text | null",
                &format!("more?: [{inner}]"),
                &format!("..{inner} | null"),
                "state: up | down"
            ]
        );
        assert_eq!(
            (outer.doc, (outer.members)()[0].doc),
            (&[" Of one", " and more."][..], &[" Its id."][..])
        );
        let mut names = Vec::new();
        Outer::SHAPE.objects(&mut |object| names.push(object.short()));
        assert_eq!(names, ["base::shape::tests::Outer", inner, inner]);
    }
}
