//! Registration and login of machines.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::invalid::{Checker, Invalid};
use crate::spelling::nullable;

/// The shortest registration token, in characters.
pub const TOKEN_LEAST: usize = 32;
/// The longest registration token, in characters.
pub const TOKEN_MOST: usize = 255;

/// What a machine sends to be known.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// The name it gives itself. Required.
    pub machine_id: Option<String>,
    /// Its password. Required.
    pub password: Option<String>,
    /// The token that validates it at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_token: Option<String>,
}

impl Registration {
    /// Whether everything required is there.
    ///
    /// # Errors
    /// What is missing, or too short or long.
    pub fn check(&self) -> Result<(), Invalid> {
        let mut problems = Vec::new();
        let mut checker = Checker::new("", &mut problems);
        checker.required("machine_id", self.machine_id.as_ref());
        checker.required("password", self.password.as_ref());
        if let Some(token) = self.registration_token.as_deref().filter(|token| !token.is_empty()) {
            checker.length("registration_token", token, TOKEN_LEAST, TOKEN_MOST);
        }
        Invalid::check(problems)
    }
}

impl fmt::Debug for Registration {
    /// Secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("machine_id", &self.machine_id).finish_non_exhaustive()
    }
}

/// What a machine sends to get a token. One that shows a certificate names neither itself nor a password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Login {
    /// Its name. Required without a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Its password. Required without a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The scenarios that it runs.
    #[serde(deserialize_with = "nullable")]
    pub scenarios: Vec<String>,
}

impl Login {
    /// Whether everything that a login by password requires is there.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self) -> Result<(), Invalid> {
        let mut problems = Vec::new();
        let mut checker = Checker::new("", &mut problems);
        checker.required("machine_id", self.machine_id.as_ref());
        checker.required("password", self.password.as_ref());
        Invalid::check(problems)
    }
}

impl fmt::Debug for Login {
    /// Secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("machine_id", &self.machine_id)
            .field("scenarios", &self.scenarios)
            .finish_non_exhaustive()
    }
}

/// The answer to a login, and to a refreshed token.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Token {
    /// 200.
    pub code: u16,
    /// When the token ends, RFC 3339.
    pub expire: String,
    /// The token.
    pub token: String,
}

impl fmt::Debug for Token {
    /// Secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expire", &self.expire).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    #[test]
    fn registrations_are_checked() {
        let check = |text: &str, expected: &str| {
            let registration: Registration = body::read(text.as_bytes()).expect(text);
            let message = registration.check().map_or_else(|invalid| invalid.to_string(), |()| String::new());
            assert_eq!(message, expected, "{text}");
        };
        check("{}", "validation failure list:\nmachine_id in body is required\npassword in body is required");
        check(
            r#"{"machine_id":"a","password":null}"#,
            "validation failure list:\npassword in body is required",
        );
        check(r#"{"machine_id":"","password":"","more":{}}"#, "");
        check(
            r#"{"machine_id":"a","password":"b","registration_token":"short"}"#,
            "validation failure list:\nregistration_token in body should be at least 32 chars long",
        );
        let long = format!(
            r#"{{"machine_id":"a","password":"b","registration_token":"{}"}}"#,
            "x".repeat(TOKEN_MOST + 1)
        );
        check(&long, "validation failure list:\nregistration_token in body should be at most 255 chars long");
    }

    #[test]
    fn logins_are_read_and_checked() {
        let login: Login = body::read(br#"{"machine_id":"edge-07","scenarios":null}"#).expect("JSON");
        assert_eq!(login.scenarios, Vec::<String>::new());
        assert_eq!(
            login.check().map_err(|e| e.to_string()),
            Err("validation failure list:\npassword in body is required".to_owned())
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = || Some("hunter2".to_owned());
        let shown = format!(
            "{:?} {:?} {:?}",
            Registration { password: secret(), registration_token: secret(), ..Registration::default() },
            Login { password: secret(), ..Login::default() },
            Token { token: "hunter2".to_owned(), ..Token::default() }
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn token_answer() {
        let token = Token { code: 200, expire: "2026-11-21T21:50:01Z".to_owned(), token: "abc".to_owned() };
        assert_eq!(
            body::write(&token).expect("JSON"),
            br#"{"code":200,"expire":"2026-11-21T21:50:01Z","token":"abc"}"#
        );
    }
}
