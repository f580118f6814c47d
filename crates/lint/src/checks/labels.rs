//! Labels of scenarios: what an alert means to people and to other programs.

use testudo_expr::Value;
use testudo_rules::{Diagnostic, plan::Scenario};

use super::{advice, key_place};
use crate::codes;

/// The labels that the ecosystem expects of a scenario.
const EXPECTED: &[&str] =
    &["behavior", "classification", "confidence", "label", "remediation", "service", "spoofable"];

/// The largest `spoofable`: anybody can send such lines under any address.
const SPOOFABLE: i64 = 3;

/// Looks at the labels of a scenario.
pub(crate) fn check(scenario: &Scenario, into: &mut Vec<Diagnostic>) {
    let missing: Vec<&str> =
        EXPECTED.iter().copied().filter(|key| !scenario.labels.contains_key(*key)).collect();
    if !missing.is_empty() {
        let mut message = format!("labels lack {}", missing.join(", "));
        if missing.contains(&"remediation") {
            message.push_str("; without `remediation: true` nobody is banned");
        }
        into.push(advice(
            codes::LABELS,
            key_place(&scenario.place, "labels"),
            message,
            "add them: what alerts are sorted and weighed by",
        ));
    }
    if scenario.remediation && matches!(scenario.labels.get("spoofable"), Some(Value::Int(SPOOFABLE))) {
        into.push(advice(
            codes::SPOOFABLE,
            key_place(&scenario.place, "labels"),
            "sources are banned although anybody can send such lines under any address (`spoofable: 3`)",
            "set `remediation: false`, or lower `spoofable` if the protocol proves the address",
        ));
    }
}
