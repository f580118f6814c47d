//! Answers, and how they become HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use testudo_store::StoreError;
use testudo_wire::{ApiError, body};

use crate::events::Listening;
use crate::pages::Pages;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const JSON_STREAM: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The reason for which a body is given up; there is none so far.
pub type BodyError = Infallible;

/// The body of an answer: one piece, pages that are made as the client takes them, or events as they happen.
pub struct AnswerBody(Content);

enum Content {
    Whole(Option<Bytes>),
    Pages(Box<dyn Pages>),
    Events(Box<Listening>),
}

impl AnswerBody {
    fn whole(bytes: impl Into<Bytes>) -> AnswerBody {
        AnswerBody(Content::Whole(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty())))
    }

    /// Whether it is sent as things happen.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.0, Content::Events(_))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match &mut self.get_mut().0 {
            Content::Whole(bytes) => bytes.take(),
            Content::Pages(pages) => pages.next_page(),
            Content::Events(listening) => ready!(listening.poll_next(context)),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Pages(_) | Content::Events(_) => SizeHint::default(),
        }
    }
}

/// What a handler answers.
pub(crate) type Answer = Response<AnswerBody>;

/// An answer that is a failure, told by its status and message.
pub(crate) struct Refusal {
    status: StatusCode,
    error: ApiError,
}

/// What handlers return.
pub(crate) type Answered = Result<Answer, Refusal>;

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, error: ApiError::new(message) }
    }

    /// The caller's fault.
    pub(crate) fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn forbidden() -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "access forbidden")
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    /// A login or a token that is refused.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::UNAUTHORIZED, error: ApiError::unauthorized(message) }
    }

    pub(crate) fn into_answer(self) -> Answer {
        let mut answer = json(self.status, &self.error);
        if self.error.code.is_some() {
            let realm = HeaderValue::from_static("JWT realm=Crowdsec API local");
            answer.headers_mut().insert(hyper::header::WWW_AUTHENTICATE, realm);
        }
        answer
    }
}

impl From<StoreError> for Refusal {
    /// What the database does not do is a failure of the server; the details are for its log.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

fn with_type(status: StatusCode, kind: Option<HeaderValue>, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    if let Some(kind) = kind {
        answer.headers_mut().insert(CONTENT_TYPE, kind);
    }
    answer
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    with_type(status, None, AnswerBody::whole(Bytes::new()))
}

/// What a HEAD request gets when all is well.
pub(crate) fn head(status: StatusCode) -> Answer {
    with_type(status, Some(TEXT), AnswerBody::whole(Bytes::new()))
}

/// A JSON answer.
pub(crate) fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Answer {
    match body::write(value) {
        Ok(bytes) => json_text(status, bytes),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// A JSON answer that is already written.
pub(crate) fn json_text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    with_type(status, Some(JSON), AnswerBody::whole(text))
}

/// A JSON answer whose pages are made as the client takes them.
pub(crate) fn json_pages(pages: impl Pages + 'static, has_charset: bool) -> Answer {
    let kind = if has_charset { JSON } else { JSON_STREAM };
    with_type(StatusCode::OK, Some(kind), AnswerBody(Content::Pages(Box::new(pages))))
}

/// An answer of another kind whose pages are made as the client takes them.
pub(crate) fn pages(pages: impl Pages + 'static, kind: &'static str) -> Answer {
    let kind = HeaderValue::from_static(kind);
    with_type(StatusCode::OK, Some(kind), AnswerBody(Content::Pages(Box::new(pages))))
}

/// An answer that tells events as they happen. Caches and proxies must not hold it back.
pub(crate) fn events(listening: Listening) -> Answer {
    let body = AnswerBody(Content::Events(Box::new(listening)));
    let answer = with_type(StatusCode::OK, Some(HeaderValue::from_static("text/event-stream")), body);
    let answer = with_header(answer, CACHE_CONTROL, "no-cache");
    with_header(answer, HeaderName::from_static("x-accel-buffering"), "no")
}

/// Adds a header.
pub(crate) fn with_header(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

/// Replaces the body by one that is made of it.
pub(crate) fn map_pages(answer: Answer, map: impl FnOnce(Box<dyn Pages>) -> Box<dyn Pages>) -> Answer {
    answer.map(|body| match body.0 {
        Content::Pages(pages) => AnswerBody(Content::Pages(map(pages))),
        Content::Whole(Some(bytes)) => AnswerBody(Content::Pages(map(Box::new(Some(bytes))))),
        other => AnswerBody(other),
    })
}
