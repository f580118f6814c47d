//! The requests, and the envelope in which each answer comes: `result`, `success`, `errors`, `result_info`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use crate::budget::{Gauge, Kind};
use crate::failure::{Failure, Problem};

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, or adds.
    Post,
    /// Replaces.
    Put,
    /// Changes in part.
    Patch,
    /// Removes.
    Delete,
}

/// A request; the token is the transport's business.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is done.
    pub method: Method,
    /// To what: the path below `/client/v4`, with its query.
    pub path: String,
    /// The JSON that is sent.
    pub body: Option<Value>,
}

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

/// What carries requests to the API.
pub trait Transport {
    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// There is none, or it broke off; says why, without the token.
    fn send(&self, request: &Request) -> Result<Reply, String>;
}

/// The longest pause that is taken from an answer, in seconds.
const PAUSE_MOST: u64 = 3_600;

/// Of the requests, one in so many is kept back for changes of security levels.
const URGENT_SHARE: u64 = 10;

/// The API of one account.
pub struct Api<T> {
    transport: T,
    gauge: Arc<Mutex<Gauge>>,
    is_urgent: bool,
}

/// An answer without its envelope.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) result: Value,
    /// Where the next page begins; nothing for the last one.
    pub(crate) cursor: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    success: bool,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    errors: Option<Vec<WrittenProblem>>,
    #[serde(default)]
    result_info: Option<Info>,
}

#[derive(Deserialize)]
struct WrittenProblem {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Default, Deserialize)]
struct Info {
    /// Of lists.
    #[serde(default)]
    cursors: Option<Cursors>,
    /// Of Workers KV.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Default, Deserialize)]
struct Cursors {
    #[serde(default)]
    after: Option<String>,
}

impl<T: Transport> Api<T> {
    /// An API whose limits are shared with others that ask as the same user.
    pub fn new(transport: T, gauge: Arc<Mutex<Gauge>>) -> Self {
        Api { transport, gauge, is_urgent: false }
    }

    /// May also spend what is kept back for changes of security levels.
    pub fn urgent(self) -> Self {
        Api { is_urgent: true, ..self }
    }

    /// The limits.
    pub fn gauge(&self) -> MutexGuard<'_, Gauge> {
        self.gauge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, if what it costs may be spent. Every request counts as one; `costs` come on top.
    pub(crate) fn ask(&self, request: &Request, costs: &[(Kind, u64)], now: u64) -> Result<Answer, Failure> {
        self.pay(costs, now)?;
        let reply = self.transport.send(request).map_err(Failure::Unreachable)?;
        let answer = read(&reply);
        if let Err(Failure::Busy { seconds: Some(seconds), .. }) = &answer {
            self.gauge().pause(now.saturating_add(seconds * 1_000));
        }
        answer
    }

    fn pay(&self, costs: &[(Kind, u64)], now: u64) -> Result<(), Failure> {
        let mut gauge = self.gauge();
        if gauge.paused_until() > now {
            return Err(Failure::Spent { kind: "pauses", free_at: gauge.paused_until() });
        }
        let reserve = if self.is_urgent { 0 } else { gauge.most(Kind::Requests).unwrap_or(0) / URGENT_SHARE };
        let all = [(Kind::Requests, 1)].into_iter().chain(costs.iter().copied());
        for (kind, count) in all.clone() {
            let reserve = if kind == Kind::Requests { reserve } else { 0 };
            if gauge.left(kind, reserve, now) < count {
                return Err(Failure::Spent { kind: kind.name(), free_at: gauge.free_at(kind, now) });
            }
        }
        for (kind, count) in all {
            gauge.spend(kind, count, now);
        }
        Ok(())
    }

    /// The security level of a zone.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub fn level(&self, zone: &str, now: u64) -> Result<String, Failure> {
        let request = Request { method: Method::Get, path: level_path(zone), body: None };
        let answer = self.ask(&request, &[], now)?;
        level_of(&answer)
    }

    /// Changes the security level of a zone.
    ///
    /// # Errors
    /// It is not changed, or it cannot be told whether it is: see [`Failure::is_unsure`].
    pub fn set_level(&self, zone: &str, level: &str, now: u64) -> Result<(), Failure> {
        let body = serde_json::json!({ "value": level });
        let request = Request { method: Method::Patch, path: level_path(zone), body: Some(body) };
        let answer = self.ask(&request, &[], now)?;
        match level_of(&answer)? {
            set if set == level => Ok(()),
            other => Err(Failure::Unreadable(format!("the level was set to {level}, and is {other:?}"))),
        }
    }
}

fn level_path(zone: &str) -> String {
    format!("zones/{zone}/settings/security_level")
}

/// Levels are short words; anything else is no answer to trust.
fn level_of(answer: &Answer) -> Result<String, Failure> {
    let level = answer.result.get("value").and_then(Value::as_str).unwrap_or_default();
    let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
    if level.is_empty() || level.len() > 32 || !level.chars().all(is_word) {
        return Err(Failure::Unreadable("it has no security level".to_owned()));
    }
    Ok(level.to_owned())
}

/// Takes an answer out of its envelope.
fn read(reply: &Reply) -> Result<Answer, Failure> {
    let parsed: Result<Envelope, _> = serde_json::from_slice(&reply.body);
    let problems = |envelope: Option<&Envelope>| -> Vec<Problem> {
        let errors = envelope.and_then(|envelope| envelope.errors.as_ref());
        errors.into_iter().flatten().map(|e| Problem { code: e.code, message: shown(&e.message) }).collect()
    };
    match reply.status {
        429 => Err(Failure::Busy {
            seconds: reply.retry_after.map(|seconds| seconds.min(PAUSE_MOST)),
            problems: problems(parsed.as_ref().ok()),
        }),
        400..=499 => Err(Failure::Refused { status: reply.status, problems: problems(parsed.as_ref().ok()) }),
        200..=299 => match parsed {
            Ok(envelope) if envelope.success => {
                let info = envelope.result_info.unwrap_or_default();
                let cursor = info.cursors.and_then(|cursors| cursors.after).or(info.cursor);
                Ok(Answer { result: envelope.result, cursor: cursor.filter(|cursor| !cursor.is_empty()) })
            }
            Ok(envelope) => {
                Err(Failure::Refused { status: reply.status, problems: problems(Some(&envelope)) })
            }
            Err(error) => Err(Failure::Unreadable(error.to_string())),
        },
        status => Err(Failure::Server { status }),
    }
}

/// A message as logs can bear it.
fn shown(message: &str) -> String {
    message.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Result<Answer, Failure> {
        read(&Reply { status, retry_after: Some(7), body: body.as_bytes().to_vec() })
    }

    #[test]
    fn envelopes() {
        let page = r#"{"success":true,"errors":[],"messages":[],"result":[1],"result_info":{"cursors":{"after":"x"}}}"#;
        assert_eq!(
            reply(200, page),
            Ok(Answer { result: serde_json::json!([1]), cursor: Some("x".to_owned()) })
        );
        let last = r#"{"success":true,"errors":null,"result":null,"result_info":{"cursor":""}}"#;
        assert_eq!(reply(200, last), Ok(Answer::default()));
        let problem = Problem { code: 10_009, message: "not found".to_owned() };
        let refused =
            r#"{"success":false,"errors":[{"code":10009,"message":"not\u0000 found"}],"result":null}"#;
        assert_eq!(
            reply(404, refused),
            Err(Failure::Refused { status: 404, problems: vec![problem.clone()] })
        );
        assert_eq!(
            reply(200, refused),
            Err(Failure::Refused { status: 200, problems: vec![problem.clone()] })
        );
        assert_eq!(reply(429, refused), Err(Failure::Busy { seconds: Some(7), problems: vec![problem] }));
        assert_eq!(reply(502, "<html>"), Err(Failure::Server { status: 502 }));
        assert_eq!(reply(301, ""), Err(Failure::Server { status: 301 }));
        assert_eq!(reply(403, "<html>"), Err(Failure::Refused { status: 403, problems: vec![] }));
        for broken in ["", "{\"success\":true,\"result\":[1", "[]", "{\"result\":[]}", "{\"success\":1}"] {
            assert!(matches!(reply(200, broken), Err(Failure::Unreadable(_))), "{broken}");
        }
    }
}
