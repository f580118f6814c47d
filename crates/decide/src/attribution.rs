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
/// contributed (other agents do not). A source that is no address has done nothing: it is what others were after.
pub(crate) fn subjects(
    attribution: Attribution,
    alert: &Alert,
    barred: &dyn Fn(Prefix) -> bool,
) -> Option<Vec<Subject>> {
    let contributors = alert.contributors.iter();
    let least = match attribution {
        Attribution::Sources => return None,
        _ if alert.contributors.is_empty() => {
            let acts = [SCOPE_IP, SCOPE_RANGE].contains(&alert.source.scope.as_str());
            return if acts { None } else { Some(Vec::new()) };
        }
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
