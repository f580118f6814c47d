//! What the firewall reports to the API, in the terms of the ecosystem: `cscli metrics` shows it.

use testudo_wire::metrics::{Counter, UsageMetrics};

use crate::backend::{Backend, Traffic};
use crate::enforcer::Enforcer;
use crate::report::{FAMILIES, Reporter, item};

/// What was reported before: counts are told as what came since.
#[derive(Debug)]
pub(super) struct Usage {
    reporter: Reporter,
    before: Traffic,
}

impl Usage {
    pub(super) fn new() -> Self {
        Usage { reporter: Reporter::new("testudo-firewall"), before: Traffic::default() }
    }

    /// What is to be reported now.
    pub(super) fn report<B: Backend>(&mut self, enforcer: &Enforcer<B>, traffic: Traffic) -> UsageMetrics {
        let items = items(enforcer, &traffic, &self.before);
        self.before = traffic;
        self.reporter.report(items)
    }
}

fn items<B: Backend>(enforcer: &Enforcer<B>, now: &Traffic, before: &Traffic) -> Vec<Counter> {
    let mut items = Vec::new();
    let held = enforcer.held().counts();
    for (at, group) in enforcer.groups().all().iter().enumerate() {
        for (family, kind) in FAMILIES.iter().enumerate() {
            let labels = [("origin", group.origin.as_str()), ("ip_type", *kind)];
            let active = held.get(at).map_or(0, |counts| counts[family]);
            if active > 0 {
                items.push(item("active_decisions", "ip", &labels, active));
            }
            let count = |traffic: &Traffic| traffic.denied.get(at).map_or((0, 0), |counts| counts[family]);
            items.extend(came("dropped", &labels, count(now), count(before)));
        }
    }
    for (family, kind) in FAMILIES.iter().enumerate() {
        items.extend(came(
            "processed",
            &[("ip_type", *kind)],
            now.processed[family],
            before.processed[family],
        ));
    }
    items
}

/// Packets and bytes that came; counters that are less than before began anew.
fn came(name: &str, labels: &[(&str, &str)], now: (u64, u64), before: (u64, u64)) -> Vec<Counter> {
    let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
    [("packet", since(now.0, before.0)), ("byte", since(now.1, before.1))]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(unit, count)| item(name, unit, labels, count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_as_what_came_since() {
        let told = |now, before| {
            let items = came("dropped", &[("origin", "CAPI")], now, before);
            items.iter().map(|item| (item.unit.clone().unwrap_or_default(), item.value)).collect::<Vec<_>>()
        };
        assert_eq!(
            told((7, 700), (5, 500)),
            [("packet".to_owned(), Some(2.0)), ("byte".to_owned(), Some(200.0))]
        );
        assert_eq!(
            told((1, 60), (5, 500)),
            [("packet".to_owned(), Some(1.0)), ("byte".to_owned(), Some(60.0))]
        );
        assert_eq!(told((5, 500), (5, 500)), []);
    }
}
