//! Helpers over what was seen before: stashes, decisions, reputation.

use testudo_event::duration;

use crate::{
    error::EvalError,
    functions::{Function, arguments::text, declare},
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("GetFromStash(string, string) string impure", |host, args| {
            let (cache, key) = (text(args, 0, "GetFromStash")?, text(args, 1, "GetFromStash")?);
            Ok(Value::Str(host.services().stash_get(cache, key).unwrap_or_default()))
        }),
        // The last argument would be a lifetime; nothing of the language makes one, so it is nil.
        ("SetInStash(string, string, string, ?any) any mutates", |host, args| {
            let (cache, key) = (text(args, 0, "SetInStash")?, text(args, 1, "SetInStash")?);
            host.services().stash_set(cache, key, text(args, 2, "SetInStash")?);
            Ok(Value::Nil)
        }),
        ("GetDecisionsCount(string) int impure", |host, args| {
            Ok(host.services().decisions_count(text(args, 0, "GetDecisionsCount")?).into())
        }),
        ("GetDecisionsSinceCount(string, string) int impure", |host, args| {
            let value = text(args, 0, "GetDecisionsSinceCount")?;
            let since = duration::parse_with_days(text(args, 1, "GetDecisionsSinceCount")?);
            Ok(since.map_or(0, |since| host.services().decisions_since_count(value, since)).into())
        }),
        ("GetActiveDecisionsCount(string) int impure", |host, args| {
            Ok(host.services().active_decisions_count(text(args, 0, "GetActiveDecisionsCount")?).into())
        }),
        ("GetActiveDecisionsTimeLeft(string) duration impure", |host, args| {
            let value = text(args, 0, "GetActiveDecisionsTimeLeft")?;
            Ok(Value::Duration(host.services().active_decisions_time_left(value)))
        }),
        ("CrowdsecCTI(string) any impure blocks", |host, args| {
            host.services()
                .cti(text(args, 0, "CrowdsecCTI")?)
                .ok_or(EvalError::Input("the reputation service is off"))
        }),
    ])
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{
        functions::helpers::testing::{TestHost, call, call_on, fails, show},
        host::Services,
    };

    #[derive(Default)]
    struct State {
        stash: Mutex<Option<[String; 3]>>,
    }

    impl Services for State {
        fn stash_get(&self, cache: &str, key: &str) -> Option<Arc<str>> {
            let stash = self.stash.lock().expect("nobody panicked");
            stash.as_ref().filter(|s| s[0] == cache && s[1] == key).map(|s| s[2].as_str().into())
        }

        fn stash_set(&self, cache: &str, key: &str, value: &str) {
            *self.stash.lock().expect("nobody panicked") = Some([cache, key, value].map(str::to_owned));
        }

        fn decisions_count(&self, value: &str) -> i64 {
            value.len() as i64
        }

        fn decisions_since_count(&self, _: &str, since: i64) -> i64 {
            since / 3_600_000_000_000
        }

        fn active_decisions_count(&self, _: &str) -> i64 {
            2
        }

        fn active_decisions_time_left(&self, _: &str) -> i64 {
            7
        }

        fn cti(&self, ip: &str) -> Option<Value> {
            Some(ip.into())
        }
    }

    #[test]
    fn stashes() {
        let mut host = TestHost::with(State::default());
        let key = ["c".into(), "k".into()];
        assert_eq!(show(&call_on(&mut host, "GetFromStash", &key)), r#""""#);
        let entry = ["c".into(), "k".into(), "v".into(), Value::Nil];
        assert!(call_on(&mut host, "SetInStash", &entry).is_nil());
        assert_eq!(show(&call_on(&mut host, "GetFromStash", &key)), r#""v""#);
    }

    #[test]
    fn decisions() {
        let table: [(&str, &[&str], &str, &str); 6] = [
            ("GetDecisionsCount", &["1.2.3.4"], "7", "0"),
            ("GetDecisionsSinceCount", &["1.2.3.4", "7d12h"], "180", "0"),
            ("GetDecisionsSinceCount", &["1.2.3.4", "soon"], "0", "0"),
            ("GetActiveDecisionsCount", &["1.2.3.4"], "2", "0"),
            ("GetActiveDecisionsTimeLeft", &["1.2.3.4"], "7ns", "0ns"),
            ("CrowdsecCTI", &["1.2.3.4"], r#""1.2.3.4""#, ""),
        ];
        for (function, args, expected, in_empty_world) in table {
            let args: Vec<_> = args.iter().map(|a| Value::from(*a)).collect();
            let mut host = TestHost::with(State::default());
            assert_eq!(show(&call_on(&mut host, function, &args)), expected, "{function}{args:?}");
            if in_empty_world.is_empty() {
                fails(function, &args);
            } else {
                assert_eq!(show(&call(function, &args)), in_empty_world, "{function}{args:?}");
            }
        }
    }
}
