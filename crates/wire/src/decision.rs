//! Decisions: as lists and streams show them, as alerts hold them, as tools post them; and the quick way to
//! write very many.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use crate::body::append_text;
use crate::invalid::Checker;
use crate::spelling::nullable;

/// A decision in a list or a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// Time left in whole seconds, as Go duration text; negative when it is over.
    pub duration: String,
    /// Its number.
    pub id: i64,
    /// Who decided.
    pub origin: String,
    /// The scenario or list behind it.
    pub scenario: String,
    /// The scope of `value`.
    pub scope: String,
    /// `ban`, `captcha` ….
    #[serde(rename = "type")]
    pub kind: String,
    /// Its identity, if it has one; only streams tell it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub uuid: String,
    /// The address, range, user … as it was received.
    pub value: String,
}

/// A decision as it stands in a body that is read piece by piece: a [`Decision`] without texts of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DecisionRef<'b> {
    /// Time left, as Go duration text; negative when it is over.
    #[serde(borrow)]
    pub duration: Cow<'b, str>,
    /// Its number.
    pub id: i64,
    /// Who decided.
    #[serde(borrow)]
    pub origin: Cow<'b, str>,
    /// The scenario or list behind it.
    #[serde(borrow)]
    pub scenario: Cow<'b, str>,
    /// The scope of `value`.
    #[serde(borrow)]
    pub scope: Cow<'b, str>,
    /// `ban`, `captcha` ….
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'b, str>,
    /// Its identity, if it has one.
    #[serde(borrow, deserialize_with = "nullable_text")]
    pub uuid: Cow<'b, str>,
    /// The address, range, user … as it was received.
    #[serde(borrow)]
    pub value: Cow<'b, str>,
}

/// Reads `null` as no text; serde borrows only fields of exactly this type by itself.
fn nullable_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'b>(#[serde(borrow)] Cow<'b, str>);
    Ok(Option::<Text<'_>>::deserialize(deserializer)?.map(|text| text.0).unwrap_or_default())
}

impl DecisionRef<'_> {
    /// The same with texts of its own.
    pub fn to_owned(&self) -> Decision {
        Decision {
            duration: self.duration.to_string(),
            id: self.id,
            origin: self.origin.to_string(),
            scenario: self.scenario.to_string(),
            scope: self.scope.to_string(),
            kind: self.kind.to_string(),
            uuid: self.uuid.to_string(),
            value: self.value.to_string(),
        }
    }
}

impl<'d> From<&'d Decision> for DecisionRef<'d> {
    fn from(decision: &'d Decision) -> Self {
        DecisionRef {
            duration: Cow::Borrowed(&decision.duration),
            id: decision.id,
            origin: Cow::Borrowed(&decision.origin),
            scenario: Cow::Borrowed(&decision.scenario),
            scope: Cow::Borrowed(&decision.scope),
            kind: Cow::Borrowed(&decision.kind),
            uuid: Cow::Borrowed(&decision.uuid),
            value: Cow::Borrowed(&decision.value),
        }
    }
}

/// A decision inside an alert that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertDecision {
    /// Time left in whole seconds, as Go duration text; negative when it is over.
    pub duration: String,
    /// Its number.
    pub id: i64,
    /// Who decided.
    pub origin: String,
    /// The scenario or list behind it.
    pub scenario: String,
    /// The scope of `value`.
    pub scope: String,
    /// Whether it is only for show: that of the alert.
    pub simulated: bool,
    /// `ban`, `captcha` ….
    #[serde(rename = "type")]
    pub kind: String,
    /// The address, range, user … as it was received.
    pub value: String,
}

/// A decision inside an alert that is posted. Number, identity and end are given by the receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PostedDecision {
    /// How long, as a Go duration that may begin with days. Required.
    pub duration: Option<String>,
    /// Who decided. Required.
    pub origin: Option<String>,
    /// The scenario behind it. Required.
    pub scenario: Option<String>,
    /// The scope of `value`. Required.
    pub scope: Option<String>,
    /// Whether it is only for show; the receiver takes that of the alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulated: Option<bool>,
    /// `ban`, `captcha` …. Required.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The address, range, user …. Required.
    pub value: Option<String>,
}

impl PostedDecision {
    pub(crate) fn check(&self, checker: &mut Checker<'_>) {
        checker.required("duration", self.duration.as_ref());
        checker.required("origin", self.origin.as_ref());
        checker.required("scenario", self.scenario.as_ref());
        checker.required("scope", self.scope.as_ref());
        checker.required("type", self.kind.as_ref());
        checker.required("value", self.value.as_ref());
    }
}

/// The part of a decision's JSON that it shares with others of its kind. Made once, it spares the escaping
/// of four texts for each decision of a long list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment(Box<[u8]>);

impl Fragment {
    /// The fragment of all decisions with these properties.
    pub fn new(origin: &str, scenario: &str, scope: &str, kind: &str) -> Self {
        let mut out = Vec::with_capacity(48 + origin.len() + scenario.len() + scope.len() + kind.len());
        for (key, text) in [
            (",\"origin\":", origin),
            (",\"scenario\":", scenario),
            (",\"scope\":", scope),
            (",\"type\":", kind),
        ] {
            out.extend_from_slice(key.as_bytes());
            append_text(&mut out, text);
        }
        Fragment(out.into())
    }

    /// A fragment that was kept elsewhere as bytes, such as those of [`Fragment::bytes`].
    pub fn from_bytes(bytes: Box<[u8]>) -> Self {
        Fragment(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Appends the JSON of a [`Decision`], the same bytes that its serialisation gives.
///
/// `fragment` are the bytes of a [`Fragment`]; `uuid` is left out when it is zero.
pub fn append_decision(
    out: &mut Vec<u8>,
    seconds_left: i64,
    id: i64,
    fragment: &[u8],
    uuid: u128,
    value: &str,
) {
    out.extend_from_slice(b"{\"duration\":\"");
    append_seconds(out, seconds_left);
    out.extend_from_slice(b"\",\"id\":");
    append_integer(out, id);
    out.extend_from_slice(fragment);
    if uuid != 0 {
        out.extend_from_slice(b",\"uuid\":\"");
        append_uuid(out, uuid);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"value\":");
    append_text(out, value);
    out.push(b'}');
}

/// Milliseconds as whole seconds, half away from zero.
pub fn round_to_seconds(millis: i64) -> i64 {
    let whole = millis / 1000;
    let rest = millis % 1000;
    whole + i64::from(rest >= 500) - i64::from(rest <= -500)
}

/// Whole seconds as Go duration text: `3h59m58s`, `0s`, `-5m0s`.
pub fn seconds_text(seconds: i64) -> String {
    let mut out = Vec::with_capacity(12);
    append_seconds(&mut out, seconds);
    String::from_utf8(out).unwrap_or_default()
}

fn append_seconds(out: &mut Vec<u8>, seconds: i64) {
    if seconds < 0 {
        out.push(b'-');
    }
    let total = seconds.unsigned_abs();
    let (hours, minutes) = (total / 3600, total / 60 % 60);
    if hours > 0 {
        append_unsigned(out, hours);
        out.push(b'h');
    }
    if hours > 0 || minutes > 0 {
        append_unsigned(out, minutes);
        out.push(b'm');
    }
    append_unsigned(out, total % 60);
    out.push(b's');
}

fn append_integer(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    append_unsigned(out, number.unsigned_abs());
}

fn append_unsigned(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn append_uuid(out: &mut Vec<u8>, uuid: u128) {
    for (at, byte) in uuid.to_be_bytes().into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        for digit in [byte >> 4, byte & 15] {
            out.push(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
        }
    }
}

/// The text of an identity: 32 lower-case hex digits in five groups; empty for zero.
pub fn uuid_text(uuid: u128) -> String {
    let mut out = Vec::with_capacity(36);
    if uuid != 0 {
        append_uuid(&mut out, uuid);
    }
    String::from_utf8(out).unwrap_or_default()
}

/// Reads what [`uuid_text`] writes, in either case. `None` for every other text.
pub fn parse_uuid(text: &str) -> Option<u128> {
    let shape = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    let digits = text.chars().filter_map(|char| char.to_digit(16));
    shape.then(|| digits.fold(0, |uuid, digit| uuid << 4 | u128::from(digit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;
    use proptest::prelude::*;
    use testudo_event::duration;

    #[test]
    fn the_example_of_a_list() {
        let expected = r#"{"duration":"3h58m2s","id":731,"origin":"crowdsec","scenario":"demo/ssh-bf","scope":"Ip","type":"ban","value":"192.0.2.10"}"#;
        let mut out = Vec::new();
        let fragment = Fragment::new("crowdsec", "demo/ssh-bf", "Ip", "ban");
        append_decision(&mut out, 14_282, 731, fragment.bytes(), 0, "192.0.2.10");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
        let read: Decision = body::read(expected.as_bytes()).expect("JSON");
        assert_eq!((read.id, read.kind.as_str()), (731, "ban"));
        assert_eq!(body::write(&read).expect("JSON"), expected.as_bytes());
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        for (millis, seconds) in [
            (0, 0),
            (499, 0),
            (500, 1),
            (1_499, 1),
            (1_500, 2),
            (-499, 0),
            (-500, -1),
            (-1_500, -2),
            (i64::MAX, i64::MAX / 1000 + 1),
            (i64::MIN, i64::MIN / 1000 - 1),
        ] {
            assert_eq!(round_to_seconds(millis), seconds, "{millis}");
        }
    }

    #[test]
    fn identities() {
        let text = "5b0c7f2e-3a55-4f55-9d0e-2f4a7a1b9c11";
        let uuid = parse_uuid(text).expect(text);
        assert_eq!(uuid_text(uuid), text);
        assert_eq!(parse_uuid(&text.to_uppercase()), Some(uuid));
        assert_eq!(uuid_text(0), "");
        for bad in ["", "5b0c7f2e3a554f559d0e2f4a7a1b9c11", "5b0c7f2e-3a55-4f55-9d0e-2f4a7a1b9c1g", "é"] {
            assert_eq!(parse_uuid(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn quick_writing_agrees_with_serialisation(
            texts in prop::array::uniform5(any::<String>()),
            seconds in any::<i64>().prop_map(|n| n / 10_000_000_000),
            id in any::<i64>(),
            uuid in any::<u128>(),
        ) {
            let [origin, scenario, scope, kind, value] = texts;
            let mut out = Vec::new();
            let fragment = Fragment::new(&origin, &scenario, &scope, &kind);
            append_decision(&mut out, seconds, id, fragment.bytes(), uuid, &value);
            let decision = Decision {
                duration: duration::format(seconds * 1_000_000_000),
                id, origin, scenario, scope, kind, value,
                uuid: uuid_text(uuid),
            };
            prop_assert_eq!(&out, &body::write(&decision).expect("JSON"));
            prop_assert_eq!(body::read::<Decision>(&out).expect("JSON"), decision);
            prop_assert_eq!(parse_uuid(&uuid_text(uuid)), Some(uuid).filter(|&uuid| uuid != 0));
        }
    }
}
