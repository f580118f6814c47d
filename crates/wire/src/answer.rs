//! The small answers: errors, counts, health.

use serde::{Deserialize, Serialize};

use crate::spelling::nullable;

/// The body of an answer that reports a failure: `{"message":"access forbidden"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiError {
    /// The status again, only in answers about machine tokens (401).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// What went wrong.
    #[serde(deserialize_with = "nullable")]
    pub message: String,
    /// More about it; Go clients show both.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub errors: String,
}

impl ApiError {
    /// The usual error, with a message only.
    pub fn new(message: impl Into<String>) -> Self {
        ApiError { message: message.into(), ..ApiError::default() }
    }

    /// The error of a login or a token: it repeats the status in its body.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        ApiError { code: Some(401), ..ApiError::new(message) }
    }
}

/// How many alerts or decisions were deleted; the number is sent as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deleted {
    /// The number, in decimal.
    #[serde(rename = "nbDeleted")]
    pub count: String,
}

impl Deleted {
    /// The answer for `count` deleted things.
    pub fn new(count: u64) -> Self {
        Deleted { count: count.to_string() }
    }
}

/// The body of the health route.
pub const HEALTH: &str = r#"{"status":"up"}"#;

/// The body of an empty list of decisions or alerts. Clients compare the text: four bytes, no newline.
pub const NOTHING: &str = "null";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    fn json<T: Serialize>(value: &T) -> String {
        String::from_utf8(body::write(value).expect("JSON")).expect("UTF-8")
    }

    #[test]
    fn answers_as_clients_know_them() {
        assert_eq!(json(&ApiError::new("access forbidden")), r#"{"message":"access forbidden"}"#);
        assert_eq!(
            json(&ApiError::unauthorized("machine edge-07 not validated")),
            r#"{"code":401,"message":"machine edge-07 not validated"}"#
        );
        assert_eq!(json(&Deleted::new(3)), r#"{"nbDeleted":"3"}"#);
    }

    #[test]
    fn errors_of_other_servers_are_read() {
        let check = |text: &str, message: &str, errors: &str| {
            let error: ApiError = body::read(text.as_bytes()).expect(text);
            assert_eq!((error.message.as_str(), error.errors.as_str()), (message, errors));
        };
        check(r#"{"message":"a","errors":"b","more":[1]}"#, "a", "b");
        check(r#"{"message":"a","errors":null}"#, "a", "");
        check("{}", "", "");
    }
}
