//! By which clock lines are poured.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Replayed(Vec<Overflow>);

impl Sink for Replayed {
    fn overflow(&mut self, overflow: &Overflow, _: crate::Line<'_>) {
        self.0.push(overflow.clone());
    }
}

/// What a replay of these lines finds.
fn replayed(engine: &Engine, log: &[(Timestamp, String)]) -> Vec<Overflow> {
    let sources = [source("a.log", false).source.clone()];
    let mut replay = Replay::new(engine, &sources, start());
    let mut told = Replayed::default();
    for (number, (_, text)) in (1..).zip(log) {
        replay.line(0, number, text, &mut NoObserver, &mut told);
    }
    told.0
}

/// Who was found by which scenario.
fn found(overflows: &[Overflow]) -> BTreeSet<(String, String)> {
    overflows.iter().map(|o| (o.alert.scenario.clone(), o.alert.get_value().to_owned())).collect()
}

fn json(overflows: &[Overflow]) -> Vec<String> {
    overflows.iter().map(|overflow| serde_json::to_string(overflow).unwrap()).collect()
}

/// Batches of a backlog of one source that arrives at once, two hours after its last line.
fn backlog(source: &Arc<LiveSource>, log: &[(Timestamp, String)], size: usize) -> Vec<Input> {
    let arrival = log.last().map_or(start(), |(time, _)| time.add_nanos(7_200_000_000_000));
    let texts: Vec<&str> = log.iter().map(|(_, text)| text.as_str()).collect();
    texts.chunks(size).map(|chunk| lines(source, arrival, chunk)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// A backlog tells what a replay tells, to the byte.
    #[test]
    fn a_backlog_is_no_burst(seed: u64, count in 1..300_usize, size in 1..50_usize, machine: bool) {
        let (engine, source) = (engine(), source("a.log", machine));
        let log = Numbers(seed).log(count);
        let expected = replayed(&engine, &log);
        let mut live = Live::new(&engine);
        let told = run(&mut live, backlog(&source, &log, size));
        prop_assert_eq!(json(&told.overflows), json(&expected));
        prop_assert!(machine || told.seen.iter().all(|(_, late, _)| *late));
    }

    /// Lines that arrive as they are written tell the same as a replay, but for their times; so does a log of
    /// which the first part is a backlog and the rest arrives as it is written.
    #[test]
    fn wherever_the_seam_is(seed: u64, count in 1..300_usize, seam in 0..300_usize, lag in 0..9_i64) {
        let (engine, source) = (engine(), source("a.log", false));
        let log = Numbers(seed).log(count);
        let seam = seam.min(count);
        let expected = replayed(&engine, &log);
        let mut live = Live::new(&engine);
        // The backlog is read just before the next line is written.
        let back = log.get(seam).map_or(start(), |(time, _)| *time);
        let mut inputs: Vec<Input> = log[..seam]
            .iter()
            .map(|(time, text)| lines(&source, back.max(time.add_nanos(11_000_000_000)), &[text]))
            .collect();
        for (time, text) in &log[seam..] {
            inputs.push(lines(&source, time.add_nanos(lag * 100_000_000), &[text]));
        }
        let told = run(&mut live, inputs);
        let (told, expected) = (found(&told.overflows), found(&expected));
        if seam == count || seam == 0 {
            prop_assert_eq!(told, expected);
        } else {
            // Times around the seam are not quite those of the lines; nobody is found who kept quiet.
            let invented: Vec<_> = told.difference(&expected).collect();
            let missed: Vec<_> = expected.difference(&told).collect();
            prop_assert!(invented.len() <= 1 && missed.len() <= 1, "{:?} {:?}", invented, missed);
        }
    }
}

/// Slow sources, each of whose lines would be a burst if all of them happened now.
#[test]
fn a_quiet_backlog_finds_nobody() {
    let engine = engine();
    let source = source("a.log", false);
    let log: Vec<(Timestamp, String)> = (0..600)
        .map(|at| (after(at * 12), dated(after(at * 12), &format!("192.0.2.{}", at % 3), "w0")))
        .collect();
    let mut live = Live::new(&engine);
    let told = run(&mut live, backlog(&source, &log, 64));
    assert_eq!(told.count("test/leaky"), 0, "{:?}", told.named());
    assert!(live.open_buckets() > 0);
    // Live lines go on where the backlog ends: still nobody is too fast.
    let now = after(600 * 12);
    let inputs = (0..30).map(|at| {
        let time = now.add_nanos(at * 12_000_000_000);
        lines(&source, time, &[dated(time, &format!("192.0.2.{}", at % 3), "w0")])
    });
    let told = run(&mut live, inputs.collect());
    assert_eq!(told.count("test/leaky"), 0, "{:?}", told.named());
    // And then somebody is.
    let time = now.add_nanos(40 * 12_000_000_000);
    let told = run(&mut live, vec![lines(&source, time, &vec![dated(time, "192.0.2.1", "w0"); 5])]);
    assert_eq!(told.count("test/leaky"), 1, "{:?}", told.named());
    assert_eq!(told.overflows[0].alert.stop_at, time);
}

#[test]
fn an_overflow_counts_from_when_it_happened() {
    let engine = engine();
    let (source, now) = (source("a.log", false), after(7_200));
    let told =
        run(&mut Live::new(&engine), vec![lines(&source, now, &vec![dated(start(), "192.0.2.1", "w0"); 5])]);
    assert_eq!(told.overflows[0].alert.stop_at, start());
    // Ten seconds are nothing, more is the past.
    for (lag, late) in [(0, false), (10_000, false), (10_001, true), (-3_600_000, false)] {
        let time = now.add_nanos(-lag * 1_000_000);
        let mut live = Live::new(&engine);
        let told = run(&mut live, vec![lines(&source, now, &vec![dated(time, "192.0.2.1", "w0"); 5])]);
        assert!(told.seen.iter().all(|(_, l, _)| *l == late), "{lag}");
        assert_eq!(told.overflows[0].alert.stop_at, if late { time } else { now }, "{lag}");
        // When it was written stays on the record.
        assert_eq!(told.overflows[0].alert.events[0].timestamp, time.to_rfc3339_nano());
    }
}

/// One source is up to date, another still reads what is two hours old, and both speak of the same address.
#[test]
fn past_and_present_have_buckets_of_their_own() {
    let engine = engine();
    let (new, old) = (source("new.log", false), source("old.log", false));
    let now = after(7_200);
    let slow = |seconds: i64| lines(&old, now, &[dated(after(seconds), "192.0.2.1", "w0")]);
    let live_line = |seconds: i64| {
        let time = after(7_200 + seconds);
        lines(&new, time, &[dated(time, "192.0.2.1", "w0")])
    };
    // Slow in both: nobody.
    let mut inputs = Vec::new();
    for at in 0..40 {
        inputs.push(live_line(at * 12));
        inputs.push(slow(at * 12));
    }
    let mut live = Live::new(&engine);
    let told = run(&mut live, inputs);
    assert_eq!(told.count("test/leaky"), 0, "{:?}", told.named());
    // A burst in the past is found, and found in the past.
    let told = run(&mut live, (0..6).map(|_| slow(480)).collect());
    assert_eq!(told.count("test/leaky"), 1, "{:?}", told.named());
    assert!(told.overflows[0].alert.stop_at < after(7_200));
    // The bucket of the present has not moved.
    let told = run(&mut live, vec![live_line(480), live_line(481)]);
    assert_eq!(told.count("test/leaky"), 0, "{:?}", told.named());
}

/// Time never goes back in a bucket that has seen the present, and what is a little late does not earn tokens.
#[test]
fn a_little_late_is_now() {
    let engine = engine();
    let (one, other) = (source("one.log", false), source("other.log", false));
    let burst =
        |source: &Arc<LiveSource>, at: i64| lines(source, after(at), &[dated(after(at), "192.0.2.1", "w0")]);
    // Stamps of two readers that overtake each other by two seconds.
    let inputs = vec![burst(&one, 102), burst(&other, 100), burst(&one, 102), burst(&other, 100)];
    let told = run(&mut Live::new(&engine), inputs);
    assert_eq!(told.count("test/leaky"), 1, "{:?}", told.named());
    assert_eq!(told.overflows[0].alert.stop_at, after(102));
}

#[test]
fn a_clock_that_is_put_back_holds_nothing_up() {
    let engine = engine();
    let source = source("a.log", false);
    let at = |seconds: i64| lines(&source, after(seconds), &[dated(after(seconds), "192.0.2.1", "w0")]);
    let mut live = Live::new(&engine);
    // Tomorrow, by mistake.
    let told = run(&mut live, vec![at(86_400), at(86_401)]);
    assert_eq!(told.count("test/leaky"), 0);
    // Slow again: had time stood still, this would be a burst.
    let told = run(&mut live, (0..30).map(|n| at(n * 12)).collect());
    assert_eq!(told.count("test/leaky"), 0, "{:?}", told.named());
    let told = run(&mut live, (0..5).map(|_| at(400)).collect());
    assert_eq!(told.count("test/leaky"), 1, "{:?}", told.named());
}

#[test]
fn lines_without_a_date_go_by_those_before_them() {
    let engine = engine();
    let source = source("a.log", false);
    let undated = || "- 192.0.2.7 w0".to_owned();
    // Live: they arrive in a burst, so they are one.
    let told = run(
        &mut Live::new(&engine),
        vec![lines(&source, after(0), &[undated(), undated(), undated(), undated()])],
    );
    assert_eq!(told.count("test/leaky"), 1);
    assert_eq!(told.overflows[0].alert.stop_at, after(0));
    // In a backlog they happen when their neighbours do.
    let mut backlog = Vec::new();
    for at in 0..20 {
        backlog.push(dated(after(at * 12), "192.0.2.1", "w0"));
        backlog.push(undated());
    }
    for workers in [1, 3] {
        let mut told = Told::default();
        Live::new(&engine).run(workers, [lines(&source, after(7_200), &backlog)].into_iter(), &mut told);
        assert_eq!(told.count("test/leaky"), 0, "{:?}", told.named());
        assert_eq!(told.seen.len(), 40);
    }
}

#[test]
fn time_passes_without_lines() {
    let engine = engine();
    let source = source("a.log", false);
    let mut live = Live::new(&engine);
    let told = run(
        &mut live,
        vec![lines(&source, after(0), &[dated(after(0), "192.0.2.1", "w1")]), Input::Tick(after(119))],
    );
    assert_eq!(told.count("test/counter"), 0);
    let told = run(&mut live, vec![Input::Tick(after(121))]);
    assert_eq!((told.count("test/counter"), &told.spots[..]), (1, &[Spot::Time][..]));
    assert_eq!(told.overflows[0].alert.stop_at, after(120));
    // What is over is forgotten, and silences end.
    assert!(live.open_buckets() > 0);
    run(&mut live, vec![Input::Tick(after(3 * 86_400))]);
    let left = live.tallies();
    let open: Vec<_> = left.scenarios.iter().filter(|s| s.buckets > 0).map(|s| &*s.name).collect();
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(live.open_buckets(), 0);
}

/// A counter that began in a backlog ends by the clock of its source, and when that has nothing more to say, by
/// the common one.
#[test]
fn a_backlog_that_ends_is_waited_for() {
    let engine = engine();
    let old = source("old.log", false);
    let mut live = Live::new(&engine);
    let now = after(7_200);
    let told = run(
        &mut live,
        vec![
            lines(&old, now, &[dated(after(0), "192.0.2.1", "w1")]),
            Input::Tick(now.add_nanos(1_000_000_000)),
        ],
    );
    assert_eq!(told.count("test/counter"), 0);
    let told = run(&mut live, vec![Input::Tick(now.add_nanos(31_000_000_000))]);
    assert_eq!(told.count("test/counter"), 1);
    assert_eq!(told.overflows[0].alert.stop_at, after(120));
    // Its next line in the past is in the past again; one of now ends that for good.
    let told = run(
        &mut live,
        vec![
            lines(&old, now, &[dated(after(200), "192.0.2.1", "w1")]),
            lines(&old, now, &[dated(now, "192.0.2.2", "w0")]),
        ],
    );
    assert_eq!(told.count("test/counter"), 1);
    assert_eq!(told.overflows[0].alert.stop_at, after(320));
}

#[test]
fn a_year_is_that_of_the_arrival() {
    let engine = engine_with(SCENARIOS, YearClock::Current(1999));
    let source = source("a.log", false);
    // A layout with spaces is no word of these lines; the day and the time alone have no year.
    let arrival = Timestamp::parse_rfc3339("2026-01-01T00:00:05Z").unwrap();
    let text = "0000-12-31T23:59:59Z 192.0.2.1 w3";
    let mut live = Live::new(&engine);
    let told = run(
        &mut live,
        vec![
            lines(&source, arrival, &[text]),
            lines(
                &source,
                arrival.add_nanos(366 * 86_400_000_000_000),
                &["0000-12-31T23:59:59Z 192.0.2.2 w3"],
            ),
        ],
    );
    let stamps: Vec<_> = told.overflows.iter().map(|o| o.alert.events[0].timestamp.as_str()).collect();
    assert_eq!(stamps, ["2025-12-31T23:59:59Z", "2026-12-31T23:59:59Z"]);
}

/// More sources than are remembered, each with a counter that waits for its clock: none waits for ever.
#[test]
fn sources_that_are_forgotten_leave_nothing_behind() {
    const SOURCES: usize = 4_200;
    let engine = engine();
    let now = after(7_200);
    let mut live = Live::new(&engine);
    let inputs = (0..SOURCES).map(|at| {
        let who = format!("10.0.{}.{}", at / 256, at % 256);
        let arrival = now.add_nanos(at as i64);
        lines(&source(&at.to_string(), false), arrival, &[dated(after(0), &who, "w1")])
    });
    let told = run(&mut live, inputs.collect());
    assert_eq!(told.count("test/counter"), 0);
    assert!(live.tallies().sources.len() < SOURCES / 4);
    let hits: u64 = live.tallies().sources.iter().map(|source| source.hits).sum();
    assert_eq!(hits, SOURCES as u64);
    let state = live.save();
    let mut again = Live::new(&engine);
    assert!(again.restore(&state).is_ok_and(|restored| restored.sources < SOURCES));
    for live in [&mut live, &mut again] {
        let told = run(live, vec![Input::Tick(now.add_nanos(60_000_000_000))]);
        assert_eq!(told.count("test/counter"), SOURCES);
        assert!(told.overflows.iter().all(|overflow| overflow.alert.stop_at == after(120)));
    }
}
