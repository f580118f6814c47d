//! Whom the decisions of a profile are about, when not about the source of the alert.

use std::net::IpAddr;

use testudo_event::{
    Alert, Prefix,
    alert::{SCOPE_IP, SCOPE_RANGE},
    net,
};
use testudo_rules::plan::Attribution;

use crate::cover::{Limits, cover};

/// Whom a decision is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) scope: &'static str,
    pub(crate) value: String,
}

/// Whom an alert's decisions are about. `None`: its source, since the profile says so, or since nobody told who
/// contributed (other agents do not).
pub(crate) fn subjects(
    attribution: Attribution,
    alert: &Alert,
    barred: &dyn Fn(Prefix) -> bool,
) -> Option<Vec<Subject>> {
    let contributors = alert.contributors.iter();
    let least = match attribution {
        _ if alert.contributors.is_empty() => return None,
        Attribution::Sources => return None,
        Attribution::Contributors { least } => u64::from(least),
        Attribution::Prefixes { .. } => 1,
    };
    let single = |value: String| Subject { scope: SCOPE_IP, value };
    let guilty = contributors.filter(|contributor| contributor.count >= least);
    let Attribution::Prefixes { budget, least } = attribution else {
        return Some(guilty.map(|contributor| single(contributor.value.clone())).collect());
    };
    let mut addresses: Vec<IpAddr> =
        guilty.filter_map(|contributor| net::parse_addr(&contributor.value)).map(net::canonical).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let chosen = cover(&addresses, &alert.bystanders, Limits { budget, least }, barred);
    let subject = |prefix: Prefix| {
        if prefix == Prefix::single(prefix.addr()) {
            single(prefix.addr().to_string())
        } else {
            Subject { scope: SCOPE_RANGE, value: prefix.to_string() }
        }
    };
    Some(chosen.into_iter().map(subject).collect())
}
