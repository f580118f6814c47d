//! What is to be done with a visit, by a policy and the decisions about its address.

use crate::{
    action::Action,
    decisions::Match,
    path,
    policy::{Host, Section},
    throttle::Rate,
    visit::Visit,
};

/// What a policy says about a visit, before passes and rates are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// No decision is enforced here.
    Clean,
    /// This is done because of this decision.
    Act { action: Action, decision: Match, rate: Rate, is_harmless: bool },
}

/// Judges a visit; `mfa` is what stands for a second factor, if anything does. Where a path has several readings for which different things hold, the strictest is done.
pub(crate) fn judge(host: &Host, visit: &Visit<'_>, matches: Vec<Match>, mfa: Option<Action>) -> Judgement {
    if matches.is_empty() {
        return Judgement::Clean;
    }
    let readings = path::readings(&visit.target);
    let sections = host.sections(&readings);
    let worst = sections.iter().map(|section| (strongest(section, &matches, mfa), *section));
    let Some((Some((action, at)), section)) = worst.max_by_key(|(found, _)| strictness(*found)) else {
        return Judgement::Clean;
    };
    // The sections of other readings may restrict and throttle in ways of their own.
    let same = || {
        sections
            .iter()
            .filter(|section| strongest(section, &matches, mfa).is_some_and(|found| found.0 == action))
    };
    let rate = same().map(|section| section.rate).max_by_key(|rate| rate.interval).unwrap_or(section.rate);
    let is_harmless = !visit.overrides_method()
        && same().all(|section| section.restriction.allows(&visit.method, &readings));
    match matches.into_iter().nth(at) {
        Some(decision) => Judgement::Act { action, decision, rate, is_harmless },
        None => Judgement::Clean,
    }
}

/// The strongest action of a section, and the place of the decision that leads to it: of several, that which holds longest.
fn strongest(section: &Section, matches: &[Match], mfa: Option<Action>) -> Option<(Action, usize)> {
    let found = matches.iter().enumerate();
    let action = |decision| match section.action(decision)? {
        Action::Mfa => mfa,
        action => Some(action),
    };
    let found = found.filter_map(|(at, decision)| Some((action(decision)?, decision.remaining, at)));
    found.max_by_key(|(action, remaining, _)| (*action, *remaining)).map(|(action, _, at)| (action, at))
}

/// How much is asked of a visitor: to be allowed is to be asked nothing.
fn strictness(found: Option<(Action, usize)>) -> Option<Action> {
    found.map(|(action, _)| action).filter(|action| *action != Action::Allow)
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use hyper::HeaderMap;

    use super::*;
    use crate::policy::Policy;

    fn check(rules: &str, target: &str, decisions: &[(&str, u64)], expected: &str) {
        let text = format!("hosts: [{{names: ['*'], fail: open, {rules}}}]");
        let policy = Policy::from_text("p", &text).expect("a policy");
        let headers = HeaderMap::new();
        let visit = Visit {
            address: IpAddr::from([198, 51, 100, 1]),
            host: "example.org".to_owned(),
            method: "GET".into(),
            target: target.into(),
            is_https: false,
            from_proxy: true,
            headers: &headers,
        };
        let matches = decisions.iter().map(|(kind, seconds)| Match {
            kind: (*kind).into(),
            origin: "local".into(),
            scenario: "s".into(),
            id: *seconds,
            remaining: Duration::from_secs(*seconds),
        });
        let found = match judge(policy.host("example.org"), &visit, matches.collect(), Some(Action::Mfa)) {
            Judgement::Clean => "clean".to_owned(),
            Judgement::Act { action, decision, is_harmless, .. } => {
                format!("{} {} {is_harmless}", action.name(), decision.id)
            }
        };
        assert_eq!(found, expected, "{rules} {target} {decisions:?}");
    }

    #[test]
    fn the_strongest_of_all() {
        check("", "/", &[], "clean");
        check("", "/", &[("captcha", 9), ("ban", 5), ("ban", 7), ("throttle", 8)], "ban 7 true");
        check("", "/", &[("ban", 5), ("allow", 1)], "allow 1 true");
        check("", "/", &[("captcha", 9), ("mfa", 5), ("2fa", 7), ("throttle", 8)], "mfa 7 true");
        check("", "/", &[("ban", 1), ("enforce_mfa", 5)], "ban 1 true");
        check("", "/", &[("header", 5), ("throttle", 1), ("restrict", 2)], "restrict 2 true");
    }

    #[test]
    fn the_strictest_reading() {
        let rules = "paths: [{prefix: /static, actions: [{types: [captcha], action: allow}]}, \
                     {prefix: /free, actions: [{types: [ban], action: header}]}], \
                     restrict: {except: [/admin]}";
        check(rules, "/static/x", &[("captcha", 1)], "clean");
        check(rules, "/static/../x", &[("captcha", 1)], "captcha 1 true");
        check(rules, "/free/x", &[("ban", 1)], "header 1 true");
        check(rules, "/free/%2e%2e/x", &[("ban", 1)], "ban 1 true");
        check(rules, "/free/..;/x", &[("ban", 1)], "ban 1 true");
        check(rules, "/static/../x", &[("allow", 1), ("ban", 2)], "allow 1 true");
        check(rules, "/static/../admin", &[("restrict", 1)], "restrict 1 false");
    }
}
