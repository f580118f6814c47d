//! Small cases in which the engine and the plain interpreter once differed, with what is right: each is run
//! through both.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use serde_json::{Value, json};
use testudo_engine::{Engine, NoData};
use testudo_event::Timestamp;
use testudo_oracle::{Outcome, WorldFiles};

use common::{
    Input, differences,
    generated::{Document, File, Rules, last_stage, reader},
    now, options, overflow_differences, plain, run_fast, run_plain, run_quick, source,
};

/// A document for the case.
fn at(file: File, document: Value) -> Document {
    Document { file, text: document.to_string() }
}

fn parser(document: Value) -> Document {
    at(File::Parser("s01-parse"), document)
}

fn enricher(document: Value) -> Document {
    at(File::Parser("s02-enrich"), document)
}

fn scenario(name: &str, mut document: Value) -> Document {
    document["name"] = json!(name);
    document["description"] = json!("a test");
    at(File::Scenario, document)
}

fn trigger(name: &str, filter: &str) -> Document {
    scenario(name, json!({"type": "trigger", "filter": filter}))
}

/// Lines `SECONDS rest`; `-` for none. A line that begins with `@` is the second source's.
fn lines(texts: &[&str]) -> Vec<Input> {
    let line = |text: &&str| {
        let (source, text) = text.strip_prefix('@').map_or((0, *text), |text| (1, text));
        let (second, rest) = text.split_once(' ').unwrap();
        let when = match second.parse::<f64>() {
            Ok(second) => now().add_nanos((second * 1e9) as i64).to_rfc3339_nano(),
            Err(_) => second.to_owned(),
        };
        let mut fields = [("svc", "a"), ("ip", "192.0.2.1"), ("user", "u"), ("n", "1")];
        let mut tail = String::new();
        for word in rest.split(' ') {
            let (key, value) = word.split_once('=').unwrap();
            match fields.iter_mut().find(|(name, _)| *name == key) {
                Some(field) => field.1 = value,
                None => tail.extend([" ", word]),
            }
        }
        let fields = fields.map(|(key, value)| format!("{key}={value}")).join(" ");
        Input { source, text: format!("{when} {fields}{tail}") }
    };
    texts.iter().map(line).collect()
}

/// Runs the documents, between those that read lines and dates, in both.
fn run(documents: &[Document], texts: &[&str]) -> Outcome {
    let mut rules = Rules::default();
    rules.0.push(at(File::Parser("s00-raw"), reader()));
    let first = |document: &&Document| document.file == File::Parser("s01-parse");
    rules.0.extend(documents.iter().filter(first).cloned());
    rules.0.push(parser(json!({
        "name": "test/on", "description": "moves on", "onsuccess": "next_stage", "filter": "true",
        "statics": [{"meta": "log_type", "expression": "evt.Parsed.program"}],
    })));
    rules.0.extend(last_stage().map(enricher));
    rules.0.extend(documents.iter().filter(|document| !first(document)).cloned());
    let (set, _) = rules.load();
    let sources = [source("0.log", "test"), source("1.log", "test")];
    let lines = lines(texts);
    let outcome = run_plain(&mut plain(&set, &WorldFiles::default()), &sources, &lines);
    let (engine, _) = Engine::new(&set, &NoData, options(true));
    let differ = differences(&run_fast(&engine, &sources, &lines, true), &outcome, &lines, true);
    assert!(differ.is_empty(), "{differ}");
    let (engine, _) = Engine::new(&set, &NoData, options(false));
    let differ = overflow_differences(&run_quick(&engine, &sources, &lines), &outcome.overflows);
    assert!(differ.is_empty(), "{differ}");
    outcome
}

/// Checks what is told: scenario, value, count, second of the overflow.
fn check(documents: &[Document], texts: &[&str], expected: &[&str]) {
    let outcome = run(documents, texts);
    let second = |time: Timestamp| time.nanos_since(now()) as f64 / 1e9;
    let told = outcome.overflows.iter().map(|overflow| {
        let alert = &overflow.alert;
        format!("{} {} {} {}", alert.scenario, alert.get_value(), alert.events_count, second(alert.stop_at))
    });
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn what_a_false_filter_or_a_key_wrote_is_seen_by_the_filters_after_it() {
    let both = [
        trigger("one", "evt.Parsed.program == 'a' && evt.SetMeta('log_type', 'x') && false"),
        trigger("two", "evt.Meta.log_type == 'x'"),
    ];
    check(&both, &["0 svc=a", "1 svc=b"], &["two 192.0.2.1 1 0"]);
    let key = "evt.SetParsed('program', 'y') ? 'k' : ''";
    let both = [
        scenario("one", json!({"type": "trigger", "filter": "evt.Parsed.program == 'a'", "groupby": key})),
        trigger("two", "evt.Parsed.program == 'y'"),
    ];
    check(&both, &["0 svc=a", "1 svc=b"], &["one 192.0.2.1 1 0", "two 192.0.2.1 1 0"]);
}

#[test]
fn what_belongs_to_buckets_is_asked_when_all_filters_have_run() {
    let writes = trigger("late", "evt.SetMeta('user', 'same') && false");
    let base = json!({"type": "leaky", "capacity": 1, "leakspeed": "1h", "filter": "true"});
    let with = |key: &str, value: Value| {
        let mut document = base.clone();
        document[key] = value;
        [scenario("early", document), writes.clone()]
    };
    check(&with("distinct", json!("evt.Meta.user")), &["0 user=a", "1 user=b"], &[]);
    check(&with("cancel_on", json!("evt.Meta.user == 'same'")), &["0 user=a", "1 user=b"], &[]);
    let scope = json!({"type": "user", "expression": "evt.Meta.user"});
    check(&with("scope", scope), &["0 user=a", "1 user=b"], &["early same 2 1"]);
}

#[test]
fn deadlines_are_those_of_their_own_bucket() {
    let timed =
        json!({"type": "leaky", "capacity": 2, "leakspeed": "1h", "duration": "10s", "filter": "true"});
    // The first bucket runs over at 1 s; what it left at 10 s does not end the second.
    let texts = ["0 n=1", "0 n=1", "1 n=1", "9 n=1", "12 n=1", "21 n=1", "31 n=1"];
    check(&[scenario("s", timed.clone())], &texts, &["s 192.0.2.1 3 1", "s 192.0.2.1 3 21"]);
    // Every event puts the end off.
    check(&[scenario("s", timed)], &["0 n=1", "9 n=1", "18.9 n=1"], &["s 192.0.2.1 3 18.9"]);
    let counter =
        json!({"type": "counter", "capacity": -1, "duration": "10s", "filter": "evt.Parsed.n == '1'"});
    let counter = [scenario("c", counter)];
    // A counter counts from its first dated event, and any line of its source may end it.
    check(&counter, &["- n=1", "0 n=1", "9 n=1", "10 n=2"], &["c 192.0.2.1 2 10"]);
    check(&counter, &["0 n=1", "@10 n=2", "9 n=1"], &[]);
}

#[test]
fn harmless_lines_tell_the_time_too() {
    let documents = [
        enricher(json!({
            "name": "test/white", "description": "a test",
            "whitelist": {"reason": "ours", "expression": ["evt.Parsed.n == '2'"]},
        })),
        scenario("c", json!({"type": "counter", "capacity": -1, "duration": "10s", "filter": "true"})),
    ];
    check(&documents, &["0 n=1", "10 n=2"], &["c 192.0.2.1 1 10"]);
}

#[test]
fn conditional_buckets_live_by_their_leak_speed_whatever_their_duration() {
    let conditional = json!({
        "type": "conditional", "capacity": -1, "leakspeed": "5s", "duration": "1h", "filter": "evt.Parsed.n == '1'",
        "condition": "len(queue.Queue) > 5",
    });
    check(&[scenario("s", conditional)], &["0 n=1", "5 n=2"], &["s 192.0.2.1 1 5"]);
}

#[test]
fn a_blackhole_that_has_ended_by_any_overflow_is_forgotten() {
    let hole = scenario(
        "s",
        json!({"type": "trigger", "filter": "true", "groupby": "evt.Meta.user", "blackhole": "1m"}),
    );
    let hole = [hole];
    check(&hole, &["0 user=a", "30 user=a", "59 user=b"], &["s 192.0.2.1 1 0", "s 192.0.2.1 1 59"]);
    check(
        &hole,
        &["0 user=a", "60 user=b", "30 user=a"],
        &["s 192.0.2.1 1 0", "s 192.0.2.1 1 60", "s 192.0.2.1 1 30"],
    );
}

#[test]
fn overflow_filters_without_event_or_alert() {
    let with = |filter: &str, blackhole: &str| {
        let mut document = json!({"type": "trigger", "filter": "true", "overflow_filter": filter});
        if !blackhole.is_empty() {
            document["blackhole"] = json!(blackhole);
        }
        [scenario("s", document)]
    };
    // There is no event: asking for it fails, which lets pass.
    check(&with("evt.Meta.user == 'x'", ""), &["0 n=1"], &["s 192.0.2.1 1 0"]);
    // Without an alert the filter is asked all the same, before the blackhole.
    let texts = ["0 ip=nobody", "1 ip=192.0.2.1"];
    check(&with("signal.Mapkey != ''", "1m"), &texts, &["s 192.0.2.1 1 1"]);
    check(&with("signal.Alert == nil", "1m"), &texts, &[]);
}

#[test]
fn conditions_see_the_overflow_of_each_queued_event() {
    let documents = [
        scenario("one", json!({"type": "trigger", "filter": "evt.Parsed.n == '1'", "reprocess": true})),
        scenario("two", json!({"type": "trigger", "filter": "evt.Parsed.n == '2'", "reprocess": true})),
        scenario(
            "both",
            json!({
                "type": "conditional", "capacity": -1, "leakspeed": "1h", "filter": "evt.GetType() == 'overflow'",
                "condition": "queue.Queue[0].Overflow.Alert.GetScenario() == 'one' && evt.Overflow.Alert.Scenario == 'two'
                    && count(queue.Queue, {#.Overflow.Alert?.Source.Value == '192.0.2.1'}) == 1",
            }),
        ),
    ];
    check(
        &documents,
        &["0 n=1", "1 n=2 ip=192.0.2.2"],
        &["one 192.0.2.1 1 0", "two 192.0.2.2 1 1", "both 192.0.2.1 2 1"],
    );
}

#[test]
fn lines_have_an_empty_overflow_without_an_alert() {
    let filter = "evt.Overflow.Alert == nil && evt.Overflow.Mapkey == '' && !evt.Overflow.Reprocess
        && len(evt.Overflow.GetSources()) == 0 && len(evt.Overflow.APIAlerts) == 0";
    let sets = parser(json!({
        "name": "test/set", "description": "a test", "filter": "true",
        "statics": [{"target": "evt.Overflow.Mapkey", "value": "x"}],
    }));
    check(&[sets, trigger("s", filter)], &["0 n=1"], &["s 192.0.2.1 1 0"]);
    check(&[trigger("s", "evt.Overflow.Alert.Remediation || true")], &["0 n=1"], &[]);
}

#[test]
fn conditions_over_a_queue_that_nothing_has_entered() {
    let conditional = json!({
        "type": "conditional", "capacity": -1, "leakspeed": "1h", "filter": "true", "groupby": "evt.Meta.user",
        "condition": "!(len(filter(queue.Queue, {#.Meta.user == 'a'})) > 0)",
    });
    // The undated line fills nothing, but its condition is true and ends the bucket in silence.
    check(&[scenario("s", conditional)], &["- user=a", "0 user=a", "1 user=b"], &["s 192.0.2.1 1 1"]);
}

#[test]
fn conditions_that_are_asked_at_every_third_event() {
    let conditional = |condition: &str| {
        let condition = format!("leaky.Total_count % 3 == 0 && {condition}");
        json!({
            "type": "conditional", "capacity": -1, "leakspeed": "1h", "filter": "true", "groupby": "'all'",
            "condition": condition,
        })
    };
    let different = "len(uniq(map(queue.Queue, {#.Meta.user}))) >= 2";
    let lines = ["0 user=a", "1 user=a", "2 user=a", "3 user=b", "4 user=b", "5 user=b", "6 user=b"];
    check(&[scenario("s", conditional(different))], &lines, &["s 192.0.2.1 6 5"]);
    check(&[scenario("s", conditional(&format!("{different} && evt.Meta.user == 'a'")))], &lines, &[]);
    // A predicate that fails for an event changes nothing about the others.
    let failing =
        format!("{different} && count(queue.Queue, {{#.Parsed.n == '' || int(#.Parsed.n) > 0}}) > 0");
    check(&[scenario("s", conditional(&failing))], &lines, &["s 192.0.2.1 6 5"]);
}

#[test]
fn a_scope_that_fails_matters_where_it_is_asked_for() {
    let documents = [
        scenario(
            "one",
            json!({"type": "trigger", "filter": "evt.GetType() == 'log'", "reprocess": true,
            "scope": {"type": "Range", "expression": "'192.0.2.0/24'"}}),
        ),
        scenario(
            "two",
            json!({"type": "trigger", "filter": "evt.GetType() == 'overflow'",
            "scope": {"type": "Range", "expression": "evt.ParseIPSources()[0]"}}),
        ),
    ];
    check(&documents, &["0 n=1"], &["one 192.0.2.0/24 1 0", "two 192.0.2.0/24 1 0"]);
}

#[test]
fn buckets_that_are_long_over_are_forgotten_every_so_many_lines() {
    let leaky = json!({"type": "leaky", "capacity": 1, "leakspeed": "10s", "filter": "evt.Parsed.n == '1'"});
    let leaky = [scenario("s", leaky)];
    // A late line finds its bucket, unless it was looked for in between.
    let with = |between: usize| {
        let mut texts = vec!["0 n=1"];
        texts.resize(between + 1, "1000 n=2");
        texts.push("1 n=1");
        run(&leaky, &texts).overflows.len()
    };
    assert_eq!((with(8_190), with(8_191)), (1, 0));
}

#[test]
fn rules_that_feed_each_other_end() {
    let fed = |name: &str| scenario(name, json!({"type": "trigger", "filter": "true", "reprocess": true}));
    let outcome = run(&[fed("a"), fed("b"), fed("c")], &["0 n=1"]);
    // Three of the line, and three of each that is poured again.
    assert_eq!(outcome.overflows.len(), 3 + 3 * testudo_oracle::MAX_REPOURED);
}

#[test]
fn lists_maps_and_nil_as_statics() {
    let with = |expression: &str| {
        let node = enricher(json!({
            "name": "test/static", "description": "a test",
            "statics": [{"meta": "found", "value": "before"}, {"meta": "found", "expression": expression}],
        }));
        let outcome = run(&[node, trigger("s", "evt.Meta.found == 'before'")], &["0 n=1"]);
        (outcome.lines[0].dropped, outcome.overflows.len())
    };
    // Lists and maps of anything are skipped, and so is what the language puts together itself.
    for skipped in [
        "evt.Unmarshaled",
        "nil",
        "[evt.Parsed.user]",
        "{'a': 1}",
        "map(evt.ParseIPSources(), # + 'x')",
        "filter(evt.ParseIPSources(), true)",
        "evt.Unmarshaled.x.y",
    ] {
        assert_eq!(with(skipped), (false, 1), "{skipped}");
    }
    for dropped in [
        "evt.ParseIPSources()",
        "Split(evt.Parsed.user, '')",
        "evt.ParseIPSources()[0:]",
        "evt.Meta",
        "evt.Line",
        "evt.Parsed.n == '1' ? evt.Meta : 'x'",
        "evt.Time",
        "true",
    ] {
        assert_eq!(with(dropped), (true, 0), "{dropped}");
    }
    // Nil is no date either, where an empty text is read as now.
    let with = |expression: &str| {
        let node = enricher(json!({
            "name": "test/static", "description": "a test",
            "statics": [{"method": "ParseDate", "expression": expression}],
        }));
        run(&[node], &["- n=1"]).lines[0].last_event.enriched.contains_key("MarshaledTime")
    };
    assert!(!with("evt.Unmarshaled.x") && with("''"));
}

#[test]
fn context_of_lists() {
    let context = json!({"all": ["evt.ParseIPSources()", "map(evt.ParseIPSources(), # + '/')", "[1, 'a']"]});
    let documents = [at(File::Context, context), trigger("s", "true")];
    let outcome = run(&documents, &["0 n=1"]);
    let [(name, values)] = &outcome.overflows[0].alert.context[..] else { panic!("{outcome:?}") };
    // The elements of a list of texts; a list of anything is one text.
    assert_eq!((name.as_str(), values.as_str()), ("all", r#"["192.0.2.1","[192.0.2.1/]","[1 a]"]"#));
}

#[test]
fn stages_that_do_not_exist() {
    let with = |stage: &str, file: fn(Value) -> Document| {
        let node = file(json!({
            "name": "test/stage", "description": "a test", "filter": "true",
            "statics": [{"target": "evt.Stage", "value": stage}],
        }));
        run(&[node], &["0 n=1"]).lines[0].parsed
    };
    assert!(!with("s05-none", parser));
    assert!(with("s02-enrich", parser));
    assert!(with("s05-none", enricher));
}

#[test]
fn a_document_that_falls_out_leaves_nothing_behind() {
    let broken = parser(json!({
        "name": "test/broken", "description": "a test", "filter": "true",
        "pattern_syntax": {"MINE": "[a-z]+", "WRONG": "("},
        "stash": [{"name": "st", "key": "evt.Parsed.user", "value": "evt.Parsed.user", "ttl": "1h", "size": 1}],
        "statics": [{"meta": "broken", "value": "yes"}],
    }));
    let good = parser(json!({
        "name": "test/good", "description": "a test", "filter": "true",
        "pattern_syntax": {"MINE": "[0-9]+"},
        "grok": {"pattern": "^%{MINE:mine}$", "apply_on": "n"},
        "stash": [{"name": "st", "key": "evt.Parsed.user", "value": "evt.Parsed.n", "ttl": "1h", "size": 9}],
        "statics": [{"meta": "mine", "expression": "evt.Parsed.mine + GetFromStash('st', 'u1')"}],
    }));
    let documents = [broken, good, trigger("s", "evt.Meta.mine == '31'")];
    check(&documents, &["0 n=1 user=u1", "1 n=2 user=u2", "2 n=3 user=u3"], &["s 192.0.2.1 1 2"]);
}

#[test]
fn addresses() {
    let by_address = json!({
        "type": "leaky", "capacity": 1, "leakspeed": "1h", "filter": "true", "groupby": "evt.Meta.source_ip",
    });
    let by_address = [scenario("s", by_address)];
    // A network of 64 bits is one key, its addresses stay what they are.
    check(&by_address, &["0 ip=2001:db8::1", "1 ip=2001:db8::2"], &["s 2001:db8::1 2 1"]);
    check(&by_address, &["0 ip=2001:db8::1", "1 ip=2001:db8:0:1::1"], &[]);
    check(&by_address, &["0 ip=192.0.2.1", "1 ip=::ffff:192.0.2.1"], &["s 192.0.2.1 2 1"]);
    // Nothing can be decided about an address with a zone.
    check(&[trigger("s", "true")], &["0 ip=fe80::1%eth0", "1 ip=fe80::1"], &["s fe80::1 1 1"]);
    let white = |key: &str, value: &str| {
        enricher(json!({
            "name": "test/white", "description": "a test", "whitelist": {"reason": "ours", key: [value]},
        }))
    };
    for (key, value, ip, hit) in [
        ("ip", "192.0.2.1", "::ffff:192.0.2.1", true),
        ("ip", "::ffff:192.0.2.1", "192.0.2.1", true),
        ("ip", "192.0.2.1", "192.0.2.2", false),
        ("cidr", "192.0.2.0/24", "::ffff:192.0.2.9", true),
        ("cidr", "::ffff:192.0.2.0/120", "192.0.2.9", true),
        ("cidr", "::/0", "192.0.2.9", false),
        ("cidr", "2001:db8::7/64", "2001:db8::1", true),
        ("ip", "fe80::1", "fe80::1%eth0", true),
    ] {
        let outcome = run(&[white(key, value), trigger("s", "true")], &[&format!("0 ip={ip}")]);
        assert_eq!(outcome.lines[0].whitelisted, hit, "{key} {value}: {ip}");
    }
}

#[test]
fn stashes_age_with_the_lines_and_keep_what_is_used() {
    let stash = |strategy: &str| {
        parser(json!({
            "name": "test/stash", "description": "a test", "filter": "evt.Parsed.n == '1'",
            "stash": [{"name": "st", "key": "evt.Parsed.user", "value": "evt.Parsed.user", "ttl": "10s",
                "size": 2, "strategy": strategy}],
            "statics": [{"meta": "kept", "value": "yes"}],
        }))
    };
    let seen = trigger("s", "evt.Parsed.n == '2' && GetFromStash('st', evt.Parsed.user) == evt.Parsed.user");
    let lru = [stash("LRU"), seen.clone()];
    // What a line stores lives from its own time on.
    check(&lru, &["100 n=1 user=a", "110 n=2 user=a"], &["s 192.0.2.1 1 110"]);
    check(&lru, &["100 n=1 user=a", "110.1 n=2 user=a"], &[]);
    check(
        &lru,
        &["0 n=1 user=a", "1 n=1 user=b", "2 n=1 user=c", "3 n=2 user=a", "3 n=2 user=b"],
        &["s 192.0.2.1 1 3"],
    );
    // Writing again is a use.
    let lfu = [stash("LFU"), seen];
    check(
        &lfu,
        &["0 n=1 user=a", "0 n=1 user=a", "1 n=1 user=b", "2 n=1 user=c", "3 n=2 user=a"],
        &["s 192.0.2.1 1 3"],
    );
}

#[test]
fn the_time_at_which_a_line_is_read_and_judged() {
    // It is read when the lines before it are done, its filters run at its own time.
    let read = trigger("read", "evt.Line.Time < evt.Time && evt.Line.Src == '0.log'");
    let judged = trigger("judged", "TimeNow() contains '12:00:05'");
    let texts = ["5 n=1", "4 n=1", "@4 n=1", "- n=1"];
    check(&[read, judged], &texts, &["read 192.0.2.1 1 5", "judged 192.0.2.1 1 5"]);
}
