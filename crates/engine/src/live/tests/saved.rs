//! What is saved comes back.

use proptest::prelude::*;

use super::*;

/// A log of several sources, some of it late, with the batches cut by chance.
fn inputs(seed: u64, count: usize) -> Vec<Input> {
    let mut numbers = Numbers(seed);
    let sources = [source("a.log", false), source("b.log", false), source("c.log", true)];
    let log = numbers.log(count);
    let mut inputs: Vec<Input> = Vec::new();
    let (mut at, mut latest) = (0, start());
    while at < log.len() {
        let batch = &log[at..log.len().min(at + 1 + numbers.below(9) as usize)];
        let lag = [0, 0, 600][numbers.below(3) as usize];
        latest = latest.max(batch[batch.len() - 1].0.add_nanos(lag * 1_000_000_000));
        let arrival = latest;
        let texts: Vec<&str> = batch.iter().map(|(_, text)| text.as_str()).collect();
        inputs.push(lines(&sources[numbers.below(3) as usize], arrival, &texts));
        if numbers.below(8) == 0 {
            inputs.push(Input::Tick(arrival));
        }
        at += batch.len();
    }
    numbered(inputs)
}

fn time(input: &Input) -> Timestamp {
    match input {
        Input::Lines(batch) => batch.arrival,
        Input::Tick(now) => *now,
        Input::Checkpoint => Timestamp::default(),
    }
}

/// The place of a cut, or the next one where what follows comes so soon that nobody can have been down: after downtime
/// buckets are kept for a backlog.
fn soon(inputs: &[Input], cut: usize) -> usize {
    let is_pause = |at: usize| at > 0 && time(&inputs[at]).nanos_since(time(&inputs[at - 1])) > MIN_DOWNTIME;
    (cut..inputs.len()).find(|&at| !is_pause(at)).unwrap_or(inputs.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// A run that is saved and goes on elsewhere, as often as you like, tells what one that is not tells.
    #[test]
    fn cuts_change_nothing(seed: u64, count in 1..400_usize, cuts in prop::collection::vec(0..200_usize, 0..5)) {
        let inputs = inputs(seed, count);
        let straight = engine();
        let expected = run(&mut Live::new(&straight), inputs.clone());
        let (mut text, mut rest, mut state) = (String::new(), inputs, None::<Vec<u8>>);
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let engine = engine();
            let mut live = Live::new(&engine);
            if let Some(state) = &state {
                let before = live.restore(state);
                prop_assert!(before.is_ok_and(|restored| restored.dropped_buckets == 0), "{:?}", before);
            }
            let tail = rest.split_off(soon(&rest, cut));
            text += &run(&mut live, rest).text;
            rest = tail;
            let saved = live.save();
            // What comes back is what was saved.
            let mut again = Live::new(&engine);
            let restored = again.restore(&saved);
            prop_assert_eq!(restored.map(|restored| restored.buckets), Ok(live.open_buckets()));
            let counted = |live: &Live<'_>| live.tallies().scenarios.iter().map(|s| s.buckets).sum::<u64>();
            prop_assert_eq!(counted(&again), counted(&live));
            state = Some(saved);
        }
        prop_assert!(text == expected.text, "{text}\ninstead of\n{}", expected.text);
    }

    /// Whatever bytes there are, restoring them, and going on with what came of it, does not panic.
    #[test]
    fn any_bytes_are_restored_or_refused(
        seed in 0..8_u64,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
        doubled in prop::option::weighted(0.2, (any::<prop::sample::Index>(), 0..40_usize)),
        mend: bool,
    ) {
        let engine = engine();
        let mut live = Live::new(&engine);
        let mut inputs = inputs(seed, 120);
        let rest = inputs.split_off(inputs.len() / 2);
        run(&mut live, inputs);
        let mut state = live.save();
        let whole = state.clone();
        for (at, byte) in changes {
            let at = at.index(state.len());
            state[at] ^= byte;
        }
        if let Some(cut) = cut {
            state.truncate(cut.index(state.len()));
        }
        if let Some((at, count)) = doubled {
            let at = at.index(state.len().max(1));
            let piece = state[at.min(state.len())..(at + count).min(state.len())].to_vec();
            state.splice(at.min(state.len())..at.min(state.len()), piece);
        }
        let mut again = Live::new(&engine);
        // With the right head, and with the one that it has.
        let restored = match state.get(20..) {
            Some(body) if mend => again.restore_body(body),
            _ => again.restore(&state),
        };
        prop_assert!(restored.is_err() || mend || state == whole);
        if restored.is_err() {
            prop_assert_eq!(again.open_buckets(), 0);
        }
        let told = run(&mut again, rest);
        prop_assert_eq!(again.counters().panics, 0, "{}", told.text);
        again.save();
    }
}

#[test]
fn foreign_newer_and_damaged() {
    let engine = engine();
    let mut live = Live::new(&engine);
    let state = live.save();
    assert_eq!(live.restore(b""), Err(StateError::Foreign));
    assert_eq!(live.restore(b"something else"), Err(StateError::Foreign));
    let mut newer = state.clone();
    newer[8] = 2;
    assert_eq!(live.restore(&newer), Err(StateError::Newer(2, 1)));
    let mut damaged = state.clone();
    if let Some(last) = damaged.last_mut() {
        *last ^= 1;
    }
    assert!(matches!(live.restore(&damaged), Err(StateError::Damaged(_))));
    assert!(matches!(live.restore(&state[..12]), Err(StateError::Damaged(_))));
    assert!(matches!(live.restore(&state[..state.len() - 1]), Err(StateError::Damaged(_))));
    assert!(live.restore(&state).is_ok());
}

/// Buckets of scenarios that are the same go on, whatever else has changed; others are dropped.
#[test]
fn rules_may_change() {
    let before = engine();
    let mut live = Live::new(&before);
    let source = source("a.log", false);
    let line = |seconds: i64| lines(&source, after(seconds), &[dated(after(seconds), "192.0.2.1", "w0")]);
    run(&mut live, vec![line(0), line(1), line(2)]);
    let (state, buckets) = (live.save(), live.open_buckets());
    let changed = SCENARIOS
        .replace("description: a test", "description: another text")
        .replace("capacity: 5", "capacity: 6")
        .replace("name: test/bayesian", "name: test/other");
    // Order means nothing, nor do the numbers of names.
    let mut documents: Vec<&str> = changed.split("---").collect();
    documents.reverse();
    let changed = format!(
        "type: trigger\nname: test/first\ndescription: new\nfilter: \"evt.Meta.new == 'n'\"\n---{}",
        documents.join("---")
    );
    let after_reload = engine_with(&changed, YearClock::Current(2026));
    let mut live = Live::new(&after_reload);
    let restored = live.restore(&state).unwrap();
    assert_eq!((restored.buckets, restored.dropped_buckets, restored.sources), (buckets - 2, 2, 1));
    let told = run(&mut live, vec![line(3)]);
    assert_eq!(told.named(), [("test/leaky", "192.0.2.1")]);
    assert_eq!(told.overflows[0].alert.events.len(), 4);
    let meta = &told.overflows[0].alert.events[0].meta;
    assert_eq!(meta, &told.overflows[0].alert.events[3].meta);
    assert_eq!(meta.len(), 3, "{meta:?}");
}

/// What the old rules named and the new ones do not is still there.
#[test]
fn names_may_be_lost() {
    let slow = "type: leaky\nname: test/slow\ndescription: a test\nfilter: \"evt.Meta.what == 'w0'\"\n\
                groupby: evt.Meta.source_ip\nleakspeed: 1h\ncapacity: 1\n";
    let parser = |more: &str| {
        let parsers = format!("{}{more}", PARSER.split("---").next().unwrap_or(""));
        let parsers = load_parsers(file("s00-raw/test.yaml", &parsers), "s00-raw").items;
        let dates = load_parsers(file("s02-enrich/test.yaml", DATES), "s02-enrich").items;
        let rules = RuleSet {
            parsers: parsers.into_iter().chain(dates).collect(),
            scenarios: load_scenarios(file("test.yaml", slow)).items,
            ..RuleSet::default()
        };
        Engine::new(&rules, &NoData, Options::new(YearClock::Current(2026))).0
    };
    let before = parser("  - meta: extra\n    expression: evt.Parsed.who\n  - meta: more\n    value: some\n");
    let source = source("a.log", false);
    let line = |seconds: i64| lines(&source, after(seconds), &[dated(after(seconds), "192.0.2.1", "w0")]);
    let mut live = Live::new(&before);
    run(&mut live, vec![line(0)]);
    let now = parser("");
    let mut other = Live::new(&now);
    assert_eq!(other.restore(&live.save()).map(|restored| restored.buckets), Ok(1));
    // Once more, since what was lost is in another place now.
    let mut third = Live::new(&now);
    assert_eq!(third.restore(&other.save()).map(|restored| restored.buckets), Ok(1));
    let told = run(&mut third, vec![line(1)]);
    let events = &told.overflows[0].alert.events;
    assert_eq!((events[0].meta("extra"), events[0].meta("more")), ("192.0.2.1", "some"));
    assert_eq!((events[1].meta("extra"), events[1].meta("what")), ("", "w0"));
    // And back to rules that name them.
    let mut back = Live::new(&before);
    assert_eq!(back.restore(&third.save()).map(|restored| restored.buckets), Ok(0));
    let mut back = Live::new(&before);
    assert_eq!(back.restore(&other.save()).map(|restored| restored.buckets), Ok(1));
    let told = run(&mut back, vec![line(1)]);
    assert_eq!(told.overflows[0].alert.events[0].meta("extra"), "192.0.2.1");
}

/// After two hours of standing still, buckets wait for the backlog, however late the clock says it is.
#[test]
fn a_restart_waits_for_the_backlog() {
    let (source, noon) = (source("a.log", false), 7_200);
    let line = |seconds: i64, arrival: i64| {
        lines(&source, after(arrival), &[dated(after(seconds), "192.0.2.1", "w0")])
    };
    let before = engine();
    let mut live = Live::new(&before);
    run(&mut live, vec![line(0, 0), line(1, 1), line(2, 2)]);
    let state = live.save();
    let engine = engine();
    for ticks in [0, 3] {
        let mut live = Live::new(&engine);
        live.restore(&state).unwrap();
        let mut inputs: Vec<Input> = (0..ticks).map(|at| Input::Tick(after(noon + at * 25))).collect();
        inputs.push(line(3, noon + 60));
        let told = run(&mut live, inputs);
        assert_eq!(told.named(), [("test/leaky", "192.0.2.1")], "{ticks} ticks");
        assert_eq!(told.overflows[0].alert.stop_at, after(3));
    }
    // What does not come for a minute does not come any more.
    let mut live = Live::new(&engine);
    live.restore(&state).unwrap();
    run(
        &mut live,
        vec![Input::Tick(after(noon)), Input::Tick(after(noon + 61)), Input::Tick(after(noon + 3 * 86_400))],
    );
    assert_eq!(live.open_buckets(), 0);
}
