//! Central allowlists, as the API shows them.

use serde::{Deserialize, Serialize};

use crate::spelling::{is_false, nullable};

/// The expiration of an item that never ends.
pub const NEVER: &str = "0001-01-01T00:00:00.000Z";

/// An item of an allowlist. Times are RFC 3339 with milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllowlistItem {
    /// When it was added.
    pub created_at: String,
    /// Why it is there.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub description: String,
    /// When it ends, [`NEVER`] if it does not.
    pub expiration: String,
    /// An address or a range.
    pub value: String,
}

/// An allowlist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allowlist {
    /// Its identity, if it comes from a console.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub allowlist_id: String,
    /// Whether it is managed by a console.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "nullable")]
    pub console_managed: bool,
    /// When it was made.
    pub created_at: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub description: String,
    /// Its items; an empty list, too, when they were not asked for.
    #[serde(deserialize_with = "nullable")]
    pub items: Vec<AllowlistItem>,
    /// Its name.
    pub name: String,
    /// When it was last changed.
    pub updated_at: String,
}

/// Whether a single address or range is allowed; `{}` when it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckAnswer {
    /// Whether it is.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "nullable")]
    pub allowlisted: bool,
    /// By which items: `192.0.2.0/28 from office (vpn exits)`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub reason: String,
}

/// A question about many addresses and ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkCheck {
    /// The addresses and ranges.
    #[serde(deserialize_with = "nullable")]
    pub targets: Vec<String>,
}

/// One address or range that is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkCheckResult {
    /// The items that allow it, with their lists.
    pub allowlists: Vec<String>,
    /// The address or range.
    pub target: String,
}

/// Those of many addresses and ranges that are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkCheckAnswer {
    /// Only what is allowed; an empty list when nothing is.
    #[serde(deserialize_with = "nullable")]
    pub results: Vec<BulkCheckResult>,
}

/// How an item is told as a reason: `ITEM from LIST (COMMENT)`.
pub fn reason(value: &str, list: &str, comment: &str) -> String {
    if comment.is_empty() {
        format!("{value} from {list}")
    } else {
        format!("{value} from {list} ({comment})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    fn json<T: Serialize>(value: &T) -> String {
        String::from_utf8(body::write(value).expect("JSON")).expect("UTF-8")
    }

    #[test]
    fn reasons() {
        assert_eq!(reason("192.0.2.0/28", "office", "vpn exits"), "192.0.2.0/28 from office (vpn exits)");
        assert_eq!(reason("192.0.2.10", "partners", ""), "192.0.2.10 from partners");
    }

    #[test]
    fn answers() {
        assert_eq!(json(&CheckAnswer::default()), "{}");
        let answer = CheckAnswer { allowlisted: true, reason: "x".to_owned() };
        assert_eq!(json(&answer), r#"{"allowlisted":true,"reason":"x"}"#);
        assert_eq!(json(&BulkCheckAnswer::default()), r#"{"results":[]}"#);
        let result = BulkCheckResult {
            allowlists: vec![reason("192.0.2.0/28", "office", "vpn exits")],
            target: "192.0.2.10".to_owned(),
        };
        assert_eq!(
            json(&BulkCheckAnswer { results: vec![result] }),
            r#"{"results":[{"allowlists":["192.0.2.0/28 from office (vpn exits)"],"target":"192.0.2.10"}]}"#
        );
    }

    #[test]
    fn lists() {
        let list = Allowlist { name: "office".to_owned(), ..Allowlist::default() };
        assert_eq!(json(&list), r#"{"created_at":"","items":[],"name":"office","updated_at":""}"#);
        let item = AllowlistItem {
            expiration: NEVER.to_owned(),
            value: "192.0.2.0/28".to_owned(),
            ..AllowlistItem::default()
        };
        assert_eq!(
            json(&item),
            r#"{"created_at":"","expiration":"0001-01-01T00:00:00.000Z","value":"192.0.2.0/28"}"#
        );
        let read: Allowlist = body::read(br#"{"items":null,"console_managed":null,"x":1}"#).expect("JSON");
        assert_eq!(read, Allowlist::default());
    }
}
