//! Administration over HTTP, an addition of ours: allowlists that are changed, bouncers and machines.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::invalid::{Checker, Invalid};
use crate::spelling::{is_false, nullable};

/// The longest name, in characters.
const NAME_MOST: usize = 255;

fn check_name(name: Option<&String>) -> Result<(), Invalid> {
    let mut problems = Vec::new();
    let mut checker = Checker::new("", &mut problems);
    checker.required("name", name);
    if let Some(name) = name {
        checker.length("name", name, 1, NAME_MOST);
        if name.chars().any(char::is_control) {
            problems.push("name in body should have no control characters".to_owned());
        }
    }
    Invalid::check(problems)
}

/// An allowlist that is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewAllowlist {
    /// Its name. Required.
    pub name: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub description: String,
}

impl NewAllowlist {
    /// Whether it can be made so.
    ///
    /// # Errors
    /// The name is missing, or is none.
    pub fn check(&self) -> Result<(), Invalid> {
        check_name(self.name.as_ref())
    }
}

/// An address or range that is to be put on an allowlist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewItem {
    /// The address or range. Required.
    pub value: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub description: String,
    /// For how long, as a Go duration that may begin with days; empty for ever.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub expiration: String,
}

/// What is to be put on an allowlist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewItems {
    /// The addresses and ranges.
    #[serde(deserialize_with = "nullable")]
    pub items: Vec<NewItem>,
}

/// What became of items that were put on an allowlist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddedItems {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that were there.
    pub known: Vec<String>,
}

/// A bouncer that is to be made.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewBouncer {
    /// Its name. Required.
    pub name: Option<String>,
    /// Its key; empty to have one made.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub key: String,
}

impl NewBouncer {
    /// Whether it can be made so.
    ///
    /// # Errors
    /// The name is missing, or is none.
    pub fn check(&self) -> Result<(), Invalid> {
        check_name(self.name.as_ref())
    }
}

/// A bouncer that was made. Its key is told this once.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MadeBouncer {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: String,
}

/// A machine that is to be made. It may log in at once.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewMachine {
    /// Its name. Required.
    pub name: Option<String>,
    /// Its password; empty to have one made.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub password: String,
}

impl NewMachine {
    /// Whether it can be made so.
    ///
    /// # Errors
    /// The name is missing, or is none.
    pub fn check(&self) -> Result<(), Invalid> {
        check_name(self.name.as_ref())
    }
}

/// A machine that was made. Its password is told this once.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MadeMachine {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
}

/// A bouncer as it is listed. Times are RFC 3339 with milliseconds, empty for never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListedBouncer {
    /// Its name.
    pub name: String,
    /// `api-key` or `tls`.
    pub auth_type: String,
    /// Whether it came to be because a key was used from another address.
    #[serde(skip_serializing_if = "is_false")]
    pub auto_created: bool,
    /// The address from which it asks.
    pub ip_address: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its version.
    pub version: String,
    /// When it was made.
    pub created_at: String,
    /// When it last asked.
    pub last_pull: String,
}

/// A machine as it is listed. Times are RFC 3339 with milliseconds, empty for never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListedMachine {
    /// Its name.
    pub name: String,
    /// `password` or `tls`.
    pub auth_type: String,
    /// Whether it may log in.
    pub validated: bool,
    /// The address from which it was last seen.
    pub ip_address: String,
    /// Its version.
    pub version: String,
    /// When it was made.
    pub created_at: String,
    /// When it last sent alerts.
    pub last_push: String,
    /// When it last gave a sign.
    pub last_heartbeat: String,
}

macro_rules! secret {
    ($($named:ident),*) => {
        $(impl fmt::Debug for $named {
            /// Secrets stay out of logs.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($named)).field("name", &self.name).finish_non_exhaustive()
            }
        })*
    };
}

secret!(NewBouncer, MadeBouncer, NewMachine, MadeMachine);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    #[test]
    fn secrets_stay_out_of_logs() {
        let made = MadeBouncer { name: "fw".to_owned(), key: "a secret".to_owned() };
        assert_eq!(format!("{made:?}"), r#"MadeBouncer { name: "fw", .. }"#);
    }

    #[test]
    fn names_are_checked() {
        let check = |text: &str, expected: &str| {
            let new: NewBouncer = body::read(text.as_bytes()).expect(text);
            let told = new.check().map_or_else(|invalid| invalid.to_string(), |()| String::new());
            assert!(told.contains(expected) && told.is_empty() == expected.is_empty(), "{text}: {told}");
        };
        check(r#"{"name":"fw"}"#, "");
        check(r#"{"name":"fw","key":null,"more":[1]}"#, "");
        check("{}", "name in body is required");
        check(r#"{"name":""}"#, "at least 1 chars");
        check(r#"{"name":"a\nb"}"#, "no control characters");
        check(&format!(r#"{{"name":"{}"}}"#, "x".repeat(256)), "at most 255 chars");
    }
}
