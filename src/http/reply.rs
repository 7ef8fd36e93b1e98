//! Responses of handlers, and the mapping from [`Error`] to status and body.

use super::request::Request;
use super::sse::{DOWNLOAD_HEADER, STREAM_HEADER, Ticket};
use crate::base::clock;
use crate::base::error::{Error, Kind, Result, UNAUTHORIZED};
use crate::base::id::{Id, Task};
use crate::base::shape::{Described, Member, Object, Shape, described};
use serde::Serialize;
use std::sync::Arc;

/// A response. The edge adds security headers, request id and length. Not `Debug`: it may hold tokens.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Names and values without control characters ([`Reply::header`]).
    pub headers: Vec<(&'static str, String)>,
    /// The whole body; cached ones are shared.
    pub body: Arc<Vec<u8>>,
    /// Type of a JSON body.
    pub shape: Option<&'static Shape>,
}

/// Media type of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// A page of a list, and its total.
#[derive(Serialize)]
pub struct List<T> {
    /// At most as many as requested.
    pub items: Vec<T>,
    /// Total.
    pub total: i64,
}

impl<T> List<T> {
    /// A complete list.
    pub fn whole(items: Vec<T>) -> List<T> {
        let total = items.len() as i64;
        List { items, total }
    }
}

impl<T: Described> Described for List<T> {
    const SHAPE: &'static Shape = &Shape::Object(&Object {
        name: "",
        doc: &[],
        members: || {
            const {
                &[
                    Member::always("items", &Shape::List(T::SHAPE)),
                    Member::always("total", &Shape::Whole),
                ]
            }
        },
    });
}

described! {
    /// A task was enqueued.
    pub struct TaskStarted {
        /// Its id, under `/api/tasks/`.
        task_id: Id<Task>,
    }
}

impl Reply {
    /// A status without body.
    pub fn status(status: u16) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Arc::default(),
            shape: None,
        }
    }

    /// JSON with status 200.
    pub fn json<T: Serialize + Described>(value: &T) -> Result<Reply> {
        Ok(Reply::json_made::<T>(to_json(value)?))
    }

    /// JSON made before by [`to_json`], of this type.
    pub fn json_made<T: Described>(body: impl Into<Arc<Vec<u8>>>) -> Reply {
        Reply {
            shape: Some(T::SHAPE),
            ..Reply::bytes("application/json", body)
        }
    }

    /// HTML.
    pub fn html(page: String) -> Reply {
        Reply::bytes("text/html; charset=utf-8", page.into_bytes())
    }

    /// Plain text.
    pub fn text(text: String) -> Reply {
        Reply::bytes(TEXT, text.into_bytes())
    }

    /// Bytes of a media type, status 200.
    pub fn bytes(kind: &'static str, body: impl Into<Arc<Vec<u8>>>) -> Reply {
        Reply {
            status: 200,
            headers: vec![("Content-Type", kind.into())],
            body: body.into(),
            shape: None,
        }
    }

    /// 201 with the new object and its path.
    pub fn created(at: String, value: &(impl Serialize + Described)) -> Result<Reply> {
        Ok(Reply::json(value)?.with_status(201).header("Location", at))
    }

    /// 202: a task was enqueued.
    pub fn accepted(task: Id<Task>) -> Result<Reply> {
        Ok(Reply::json(&TaskStarted { task_id: task })?
            .with_status(202)
            .header("Location", format!("/api/tasks/{task}")))
    }

    /// 303: redirect after a form.
    pub fn see_other(place: impl Into<String>) -> Reply {
        Reply::status(303).header("Location", place.into())
    }

    /// A live stream, served by the edge itself ([`super::sse`]).
    pub fn stream(ticket: &Ticket) -> Reply {
        Reply::status(200).header(STREAM_HEADER, ticket.text())
    }

    /// A download of unknown length, made while it is sent ([`super::sse`]); `name` is what it is saved as.
    pub fn download(ticket: &Ticket, media_type: &'static str, name: &str) -> Reply {
        Reply::status(200)
            .header(DOWNLOAD_HEADER, ticket.text())
            .header("Content-Type", media_type)
            .header("Content-Disposition", format!("attachment; filename=\"{name}\""))
    }

    /// Changes the status.
    pub fn with_status(mut self, status: u16) -> Reply {
        self.status = status;
        self
    }

    /// Adds a header. Control and non-ASCII characters in the value are dropped, so that it cannot split the response.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        let value: String = value.into();
        self.headers.push((
            name,
            value.chars().filter(|c| c.is_ascii() && !c.is_control()).collect(),
        ));
        self
    }
}

/// A value's JSON.
pub fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(Error::internal)
}

/// The HTTP status of an error.
pub fn status(kind: Kind) -> u16 {
    match kind {
        Kind::Malformed => 400,
        Kind::Unauthorized => 401,
        Kind::Forbidden => 403,
        Kind::NotFound => 404,
        Kind::Method => 405,
        Kind::Conflict => 409,
        Kind::TooLarge => 413,
        Kind::Invalid => 422,
        Kind::TooMany(_) => 429,
        Kind::Upstream => 502,
        Kind::Busy => 503,
        Kind::Timeout => 504,
        Kind::Config | Kind::Internal => 500,
    }
}

described! {
    /// A refusal, the same for every address and status.
    pub struct Refused<'a> {
        /// One sentence for people: what was seen, what to do; of 401 the word `Unauthorized`.
        detail: &'a str,
        /// Stable, for programs.
        error_code: &'a str,
        /// When, in UTC.
        timestamp: &'a str,
        /// What the log knows this request by.
        request_id: &'a str,
        /// Of 422: each mistake with its field.
        #[serde(skip_serializing_if = "Option::is_none")]
        fields: Option<Vec<WrongField<'a>>>,
    }

    /// One mistake in what was sent.
    pub struct WrongField<'a> {
        /// As it was sent.
        field: &'a str,
        /// Stable, for programs.
        code: &'a str,
        /// One sentence for people.
        message: &'a str,
    }
}

/// An error as the API tells it.
pub fn error_json(error: &Error, request: &Request) -> Reply {
    let fields = error.fields.iter().map(|wrong| WrongField {
        field: wrong.field,
        code: wrong.code,
        message: &wrong.message,
    });
    let refused = Refused {
        detail: match error.kind {
            Kind::Unauthorized => UNAUTHORIZED,
            _ => &error.say,
        },
        error_code: error.code,
        timestamp: &clock::rfc3339(clock::now()),
        request_id: &request.id,
        fields: (!error.fields.is_empty()).then(|| fields.collect()),
    };
    let body = to_json(&refused).unwrap_or_default(); // texts alone: they are always JSON
    with_retry(Reply::bytes("application/json", body), error)
}

/// Sets status and headers for an error.
pub fn with_retry(reply: Reply, error: &Error) -> Reply {
    let reply = reply.with_status(status(error.kind));
    match error.kind {
        Kind::TooMany(seconds) => reply.header("Retry-After", seconds.to_string()),
        Kind::Busy => reply.header("Retry-After", "5"),
        Kind::Unauthorized => reply.header("WWW-Authenticate", "Bearer"),
        Kind::Method => reply.header("Allow", error.log.clone()),
        _ => reply,
    }
}
