//! Lists as JSON.

use serde::Serialize;
use sha1::{Digest as _, Sha1};
use testudo_event::{Prefix, Timestamp, text::ascii_json};

use super::{Row, short};
use crate::choose::{Chosen, Value};

/// A line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    value: &'a str,
    scope: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// How many lines there are.
pub(super) fn json_lines(out: &mut String, rows: &[Row<'_>], chosen: &Chosen) -> usize {
    let mut count = 0;
    let mut add = |line: &Line<'_>| {
        // Texts and numbers always serialise.
        out.push_str(&ascii_json(&serde_json::to_string(line).unwrap_or_default()));
        out.push('\n');
        count += 1;
    };
    for row in rows {
        let is_single = row.net == Prefix::single(row.net.addr());
        let scope = if is_single { "Ip" } else { "Range" };
        let item = row.item;
        add(&Line {
            value: &short(row.net),
            scope,
            kind: item.map(|item| &*item.kind),
            origin: item.map(|item| &*item.origin),
            scenario: item.map(|item| &*item.scenario),
            id: item.map(|item| item.id),
            until: item.map(|item| moment(item.until)),
        });
    }
    for item in &chosen.items {
        if let Value::Other { scope, value } = &item.value {
            add(&Line {
                value,
                scope,
                kind: Some(&item.kind),
                origin: Some(&item.origin),
                scenario: Some(&item.scenario),
                id: Some(item.id),
                until: Some(moment(item.until)),
            });
        }
    }
    count
}

#[derive(Serialize)]
struct Indicator<'a> {
    r#type: &'a str,
    spec_version: &'a str,
    id: String,
    created: &'a str,
    modified: &'a str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(rename = "indicator_types")]
    kinds: [&'a str; 1],
    pattern: String,
    pattern_type: &'a str,
    valid_from: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
}

pub(super) fn stix(out: &mut String, rows: &[Row<'_>], now: i64) {
    let now_text = moment(now);
    let mut all = space();
    rows.iter().for_each(|row| all.update(row.net.to_string() + "\n"));
    // One by one: all of them at once would need several times the room of their text.
    out.push_str("{\"type\":\"bundle\",\"id\":\"bundle--");
    out.push_str(&identity(all));
    out.push_str("\",\"objects\":[");
    for (at, row) in rows.iter().enumerate() {
        let kind = if row.net.addr().is_ipv4() { "ipv4-addr" } else { "ipv6-addr" };
        let net = short(row.net);
        let indicator = Indicator {
            r#type: "indicator",
            spec_version: "2.1",
            id: format!("indicator--{}", identity(space().chain_update(&net))),
            created: &now_text,
            modified: &now_text,
            description: row.item.map(|item| &*item.scenario),
            kinds: ["malicious-activity"],
            pattern: format!("[{kind}:value = '{net}']"),
            name: net,
            pattern_type: "stix",
            valid_from: &now_text,
            // It has to come after its beginning.
            valid_until: row.item.map(|item| moment(item.until.max(now + 1))),
        };
        if at > 0 {
            out.push(',');
        }
        // Texts always serialise.
        out.push_str(&ascii_json(&serde_json::to_string(&indicator).unwrap_or_default()));
    }
    out.push_str("]}\n");
}

fn moment(seconds: i64) -> String {
    Timestamp::from_unix(seconds, 0).to_rfc3339()
}

/// What the identities of this program's own begin with.
fn space() -> Sha1 {
    Sha1::new().chain_update(b"testudo--mirror-")
}

/// A UUID of version 5: the same for the same text.
fn identity(hash: Sha1) -> String {
    let hash = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let number = u128::from_be_bytes(bytes);
    let hex = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
