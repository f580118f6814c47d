//! Saved states of a live run, as bytes that anybody may have written.

use std::sync::{Arc, LazyLock};

use testudo_engine::{Engine, Input, Live, LiveBatch, LiveSink, LiveSource, NoData, Options, Source, Spot};
use testudo_event::{Overflow, Timestamp, YearClock};
use testudo_rules::{SourceFile, load_parsers, load_scenarios, set::RuleSet};

const PARSERS: &str = r#"
name: fuzz/reader
description: reads the lines of this target
filter: "evt.Line.Raw != ''"
grok:
  pattern: '^%{NOTSPACE:when} %{NOTSPACE:who} %{NOTSPACE:what}$'
  apply_on: Line.Raw
stash:
  - name: names
    key: evt.Parsed.who
    value: evt.Parsed.what
    ttl: 1h
    size: 20
    strategy: LFU
statics:
  - meta: source_ip
    expression: evt.Parsed.who
  - meta: what
    expression: evt.Parsed.what
  - target: evt.StrTime
    expression: evt.Parsed.when
---
name: fuzz/dates
description: reads their dates
filter: "evt.StrTime != ''"
statics:
  - method: ParseDate
    expression: evt.StrTime
  - target: evt.MarshaledTime
    expression: evt.Enriched.MarshaledTime
---
name: fuzz/json
description: keeps a value
filter: "UnmarshalJSON('{\"k\": [1, {\"a\": null}]}', evt.Unmarshaled, 'j') in ['', nil]"
statics:
  - meta: all
    value: 'yes'
"#;

/// Buckets of all sorts.
const SCENARIOS: &str = r#"
type: leaky
name: fuzz/leaky
description: a test
filter: "evt.Meta.what startsWith 'w'"
groupby: evt.Meta.source_ip
distinct: evt.Meta.what
leakspeed: 10m
capacity: 4
blackhole: 1m
---
type: leaky
name: fuzz/many
description: a test
filter: "evt.Meta.what startsWith 'w' && evt.Unmarshaled.j != nil"
groupby: evt.Meta.what
leakspeed: 10s
capacity: 5
scope:
  type: user
  expression: evt.Meta.what
---
type: conditional
name: fuzz/conditional
description: a test
filter: "evt.Meta.what startsWith 'w'"
groupby: evt.Meta.source_ip
leakspeed: 2h
capacity: 4
condition: len(filter(queue.Queue, {#.Meta.what == 'w1'})) >= 2 && queue.Queue[-1].Unmarshaled.j.k[0] == 1
---
type: counter
name: fuzz/counter
description: a test
filter: "evt.Meta.what == 'w2'"
groupby: evt.Meta.source_ip
duration: 1m
capacity: -1
reprocess: true
---
type: leaky
name: fuzz/again
description: a test
filter: "evt.Overflow.Alert.Scenario == 'fuzz/counter'"
leakspeed: 1h
capacity: 2
---
type: bayesian
name: fuzz/bayesian
description: a test
filter: "evt.Meta.what startsWith 'w'"
groupby: evt.Meta.source_ip
bayesian_prior: 0.5
bayesian_threshold: 0.9
leakspeed: 30m
capacity: -1
bayesian_conditions:
  - condition: any(queue.Queue, {#.Meta.what == 'w3'})
    prob_given_evil: 0.8
    prob_given_benign: 0.2
    guillotine: true
"#;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let file = |text: &str| Arc::new(SourceFile { path: "fuzz.yaml".to_owned(), text: text.to_owned() });
    let rules = RuleSet {
        parsers: load_parsers(file(PARSERS), "s00-raw").items,
        scenarios: load_scenarios(file(SCENARIOS)).items,
        ..RuleSet::default()
    };
    Engine::new(&rules, &NoData, Options::new(YearClock::Current(2026))).0
});

struct Silent;

impl LiveSink for Silent {
    fn overflow(&mut self, _: &Overflow, _: Spot) {}
}

/// Lines from a minute after `seconds` on, some of them late.
fn inputs(seconds: i64) -> impl Iterator<Item = Input> + Send {
    let sources = ["a.log", "b.log"].map(|name| {
        let source = Source { name: name.to_owned(), ..Source::default() };
        Arc::new(LiveSource { source, time_machine: false })
    });
    (0..40_i64).map(move |at| {
        let arrival = Timestamp::from_unix(seconds + 60 + at * 7, 0);
        let time = arrival.add_nanos(if at % 3 == 0 { -900_000_000_000 } else { 0 });
        let text = format!("{} 192.0.2.{} w{}", time.to_rfc3339_nano(), at % 5, at * at % 4);
        let source = Arc::clone(&sources[usize::from(at % 3 == 0)]);
        let ends = vec![text.len() as u32];
        Input::Lines(LiveBatch { number: at as u64, source, arrival, text, ends })
    })
}

/// Restores a state with this body, behind a head that fits it. What came back is saved, and comes back again; the
/// run goes on, and nothing panics on the way.
pub fn states(bytes: &[u8]) {
    let mut live = Live::new(&ENGINE);
    let Ok(restored) = live.restore_body(bytes) else {
        assert_eq!(live.open_buckets(), 0, "what was refused has come back in part");
        return;
    };
    assert_eq!(restored.buckets, live.open_buckets());
    let state = live.save();
    let mut again = Live::new(&ENGINE);
    let back = again.restore(&state).expect("what was saved comes back");
    let expected = (restored.buckets, 0, restored.silences, restored.stashed, restored.sources);
    assert_eq!((back.buckets, back.dropped_buckets, back.silences, back.stashed, back.sources), expected);
    live.run(1, inputs(1_772_323_200), &mut Silent);
    assert_eq!(live.counters().panics, 0, "a panic was caught");
    let now = Timestamp::from_unix(1_772_326_800, 0);
    live.run(1, std::iter::once(Input::Tick(now)), &mut Silent);
    assert_eq!(live.counters().panics, 0, "a panic was caught at a tick");
}

/// A body to begin with: that of a run over some lines.
#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes before the body of a state.
    const HEAD: usize = 20;

    #[test]
    fn a_state_of_a_run_holds() {
        let mut live = Live::new(&ENGINE);
        live.run(1, inputs(1_772_323_000), &mut Silent);
        assert!(live.open_buckets() > 10);
        let state = live.save();
        states(&state[HEAD..]);
        if let Some(path) = std::env::var_os("TESTUDO_STATE_SEED") {
            std::fs::write(path, &state[HEAD..]).expect("a seed");
        }
    }
}
