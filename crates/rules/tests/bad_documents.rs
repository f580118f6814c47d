//! What is wrong with a document is told with its code, place and remedy, and harms no other
//! document.

use std::{sync::Arc, thread};

use testudo_rules::{
    Diagnostic, Loaded, Severity, SourceFile, load_context, load_parsers, load_profiles, load_scenarios,
    load_simulation, plan::Attribution,
};

fn file(text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile { path: "rule.yaml".to_owned(), text: text.to_owned() })
}

fn show(diagnostic: &Diagnostic) -> String {
    let Diagnostic { code, severity, message, place, hint } = diagnostic;
    let severity = if *severity == Severity::Error { "error" } else { "warning" };
    let hint = hint.as_deref().unwrap_or("-");
    format!("{severity} {code} {}:{} {message} | {hint}", place.line, place.column)
}

/// Loads `text`; expects so many documents and these diagnostics.
#[track_caller]
fn check<T>(loaded: &Loaded<T>, documents: usize, expected: &[&str]) {
    let got: Vec<String> = loaded.diagnostics.iter().map(show).collect();
    assert_eq!(got, expected, "\n{}\n", got.join("\n"));
    assert_eq!(loaded.items.len(), documents);
}

#[track_caller]
fn parser(text: &str, expected: &[&str]) {
    let loaded = load_parsers(file(text), "s01-parse");
    let bad = expected.iter().any(|line| line.starts_with("error"));
    check(&loaded, usize::from(!bad), expected);
}

#[track_caller]
fn scenario(text: &str, expected: &[&str]) {
    let loaded = load_scenarios(file(text));
    let bad = expected.iter().any(|line| line.starts_with("error"));
    check(&loaded, usize::from(!bad), expected);
}

/// A node that is complete, as the end of a document.
const STATICS: &str = "statics: [{meta: a, value: b}]\n";

#[test]
fn yaml() {
    parser(
        "name: a\nfilter: [\n",
        &[
            "error R001 2:9 unclosed bracket '[' | close it, or put the value into quotes if the bracket belongs to it",
        ],
    );
    parser(
        "name: a\nfilter: @x\n",
        &[
            "error R001 2:9 unexpected character: '@' | put the value into quotes: it begins with a character that YAML reserves",
        ],
    );
    parser(
        "name: a\nfilter: a: b\n",
        &[
            "error R001 2:10 mapping values are not allowed in this context | put the value into quotes if its `: ` belongs to it; else check the indentation",
        ],
    );
    parser(
        "name: a\n\tfilter: b\n",
        &[
            "error R001 1:7 while scanning a plain scalar, found a tab | indent with spaces: YAML does not take tabs",
        ],
    );
    parser(
        "name: 'it's'\n",
        &[
            "error R001 1:11 invalid trailing content after single-quoted scalar | inside single quotes, write a quote twice",
        ],
    );
    parser(
        "name: \"x\n",
        &[
            "error R001 2:1 invalid indentation in multiline quoted scalar | close the quote, or indent the lines that follow",
        ],
    );
    parser(
        "name: a\nfilter: *x\n",
        &[
            "error R001 2:9 alias references unknown anchor | put the value into quotes if its `*` belongs to it",
        ],
    );
    parser(
        "- name\n",
        &["error R005 1:1 a parser takes a map, not a list | write `key: value` lines below it, indented"],
    );
    parser(
        "{[a]: b}\n",
        &[
            "error R001 1:1 a list or map cannot be a key | write a single word before the colon, in quotes if it has brackets",
        ],
    );
    parser(
        "a: &a [*a]\n",
        &[
            "error R001 1:8 recursive references require weak recursion types | an anchor cannot stand for a part of itself: write out what is meant",
        ],
    );
    parser(
        "name: a\0b\n",
        &[
            "error R001 1:8 unexpected character: '\\u{0}' | the file holds a NUL byte: remove it, or save the file as UTF-8 text",
        ],
    );
    parser(
        "name: a\ndata:\n\t- b\n",
        &[
            "error R001 3:2 tabs disallowed within this context (block indentation) | indent with spaces: YAML does not take tabs",
        ],
    );
}

/// Each is refused at once, whatever it would become.
#[test]
fn too_large() {
    let deep = "lists and maps are nested more than 48 deep | nest less";
    parser(&format!("name: a\ndebug: {}\n", "[".repeat(60)), &[&format!("error R002 2:56 {deep}")]);
    let node = |depth| format!("{0}nodes:\n{0}- name: a\n", "  ".repeat(depth));
    let nodes: String = (0..60).map(node).collect();
    // Builds without optimisation take more than a thread has by itself.
    let read = move || parser(&nodes, &[&format!("error R002 48:49 {deep}")]);
    thread::Builder::new().stack_size(16 << 20).spawn(read).expect("a thread").join().expect("it is refused");
    let many = "the document holds more than 100000 values | split it; long lists belong in a data file";
    let list = "  - a\n".repeat(110_000);
    parser(&format!("name: a\nreferences:\n{list}"), &[&format!("error R002 99998:5 {many}")]);
    let aliases = "anchors and aliases make the document too large | write out what they stand for, or split the document";
    let nine = |n: i32| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", "));
    let bomb: String = (1..12).map(nine).collect();
    parser(&format!("a0: &a0 [x, x, x]\n{bomb}name: a\n"), &[&format!("error R002 1:9 {aliases}")]);
    let same = "  - *r\n".repeat(2_000);
    parser(&format!("name: a\nreferences:\n  - &r a\n{same}"), &[&format!("error R002 1004:5 {aliases}")]);
}

#[test]
fn keys_and_types() {
    parser(
        &format!("name: a\nfitler: 'true'\n{STATICS}"),
        &["error R003 2:1 unknown key `fitler` in a parser | did you mean `filter`?"],
    );
    parser(
        &format!("name: a\nwhatever: 'true'\n{STATICS}"),
        &[
            "error R003 2:1 unknown key `whatever` in a parser | known here: author, data, debug, description, filter, format, grok, name, nodes, onsuccess, pattern_syntax, profiling, references, stage, stash, statics, whitelist",
        ],
    );
    parser(
        &format!("name: a\nname: b\n{STATICS}"),
        &["error R004 2:1 key `name` is given twice | it stands in line 1 already: keep one of them"],
    );
    parser(
        &format!("name: [a]\n{STATICS}"),
        &[
            "error R005 1:7 `name` takes text, not a list | put the value into quotes if its brackets or braces belong to it",
        ],
    );
    parser(
        &format!("name: a\ndebug: 'true'\n{STATICS}"),
        &["error R005 2:8 `debug` takes a boolean, not text | write `true` or `false`, without quotes"],
    );
    parser(
        &format!("name: a\nreferences: x\n{STATICS}"),
        &["error R005 2:13 `references` takes a list, not text | begin each item on its own line with `- `"],
    );
    parser(
        &format!("name: a\nonsuccess: next-stage\n{STATICS}"),
        &["error R007 2:12 `onsuccess` cannot be `next-stage` | did you mean `next_stage`?"],
    );
    parser(
        &format!("name: a\nformat: 4.0\n{STATICS}"),
        &["error R009 2:9 format `4.0` is not readable | formats 1.0 to 3.0 are read"],
    );
    parser(
        &format!("name: a\nformat: new\n{STATICS}"),
        &["error R009 2:9 format `new` is not readable | formats 1.0 to 3.0 are read"],
    );
    parser(&format!("name: a\nformat: 2.0\ndebug: off\n{STATICS}"), &[]);
    parser(
        "name: a\nstatics: x\n",
        &["error R005 2:10 `statics` takes a list, not text | begin each item on its own line with `- `"],
    );
    parser(
        "name: a\nwhitelist: [x]\n",
        &[
            "error R005 2:12 the whitelist takes a map, not a list | write `key: value` lines below it, indented",
        ],
    );
}

#[test]
fn skipped_documents() {
    for text in ["", "# nothing\n", "---\n", "---\n---\n"] {
        check(&load_parsers(file(text), "s01-parse"), 0, &[]);
    }
    check(
        &load_parsers(file("filter: 'true'\n"), "s01-parse"),
        0,
        &[
            "warning R023 1:1 the document is skipped: it has no name, no description and no author | give it a name, e.g. `name: me/my-parser`",
        ],
    );
    check(
        &load_scenarios(file("---\n")),
        0,
        &["error R006 1:4 the document is empty | write a scenario after the `---`, or remove it"],
    );
}

#[test]
fn one_bad_document_harms_no_other() {
    let text = format!("name: a\n{STATICS}---\nname: [\n---\nname: c\n{STATICS}---\nnaem: d\n{STATICS}");
    check(
        &load_parsers(file(&text), "s01-parse"),
        2,
        &[
            "error R001 4:7 unclosed bracket '[' | close it, or put the value into quotes if the bracket belongs to it",
            "error R003 9:1 unknown key `naem` in a parser | did you mean `name`?",
        ],
    );
}

#[test]
fn nodes() {
    parser(
        "name: a\n",
        &[
            "error R014 1:1 the node does nothing | a node needs a `grok`, `nodes`, `statics` or a `whitelist`",
        ],
    );
    parser(
        "name: a\nstash: [{name: x, key: evt.StrTime, value: evt.StrTime, ttl: 1s}]\n",
        &[
            "error R014 1:1 the node does nothing | a node needs a `grok`, `nodes`, `statics` or a `whitelist`",
        ],
    );
    parser(
        "name: a\nnodes:\n  - filter: 'true'\n",
        &[
            "error R014 3:5 the node does nothing | a node needs a `grok`, `nodes`, `statics` or a `whitelist`",
        ],
    );
    parser(
        "name: a\ngrok: {pattern: x}\n",
        &[
            "error R015 2:8 the grok has a pattern but no text for it | add what it is matched against, e.g. `apply_on: message`",
        ],
    );
    parser(
        "name: a\ngrok: {apply_on: message}\n",
        &["error R015 2:8 the grok has no pattern | add a `pattern`, or the `name` of one"],
    );
    parser(
        "name: a\ngrok: {apply_on: evt.Parsed.message, pattern: x}\n",
        &[
            "warning R018 2:18 `evt.Parsed.message` is no key of `evt.Parsed`: the grok never runs | `apply_on` takes `Line.Raw` or a bare key; for anything else there is `expression`",
        ],
    );
    parser(
        "name: a\ngrok: {apply_on: message, expression: evt.Line.Raw, pattern: x, name: Y}\n",
        &[
            "warning R022 2:39 `expression` has no effect beside `apply_on` | keep one of the two",
            "warning R022 2:62 `pattern` has no effect beside `name` | keep one of the two",
        ],
    );
    parser(
        "name: a\ngrok:\n  apply_on: message\n  pattern: |\n    x\n",
        &[
            "warning R022 5:5 the pattern ends with a line break, which no line has | write `|-` instead of `|`, or put the pattern into quotes",
        ],
    );
    parser(
        "name: a\nstatics: [{value: b}]\n",
        &[
            "error R016 2:12 the static has no destination | name it with one of `meta`, `parsed`, `target` or `method`",
        ],
    );
    parser(
        "name: a\nstatics: [{meta: b}]\n",
        &["error R016 2:12 the static has no value | add a `value` that is not empty, or an `expression`"],
    );
    parser(
        "name: a\nstatics: [{meta: b, parsed: c, value: d, expression: evt.Line.Raw}]\n",
        &[
            "warning R022 2:18 `meta` has no effect beside `parsed` | write two statics",
            "warning R022 2:54 `expression` has no effect beside `value` | keep one of the two",
        ],
    );
    parser(
        "name: a\nstatics: [{enriched: b, value: c}]\n",
        &[
            "error R016 2:22 `enriched` alone is no destination here | name the destination with `meta`, `parsed` or `target`",
        ],
    );
    parser(
        "name: a\nstatics: [{method: GeoIPCity, expression: evt.Line.Raw}]\n",
        &[
            "warning R017 2:20 there is no enricher `GeoIPCity`: the static does nothing | did you mean `GeoIpCity`?",
        ],
    );
    parser(
        "name: a\nstatics: [{method: reputation, expression: evt.Meta.source_ip}]\n",
        &[
            "warning R017 2:20 there is no enricher `reputation`: the static does nothing | did you mean `Reputation`?",
        ],
    );
    parser(
        "name: a\nfilter: Reputation(evt.Meta.source_ip).Listd\nstatics: [{meta: a, value: b}]\n",
        &["error R011 2:40 Reputation has no field `Listd` | did you mean `Listed`?"],
    );
    parser(
        "name: a\nfilter: IsListd(evt.Meta.source_ip)\nstatics: [{meta: a, value: b}]\n",
        &["error R011 2:9 there is no function `IsListd` | did you mean `IsListed`?"],
    );
    parser(
        "name: a\nfilter: any(File('x'), evt.Line.Raw == #)\nstatics: [{meta: a, value: b}]\n",
        &[
            "error R011 2:39 the expression ends where a value should stand | in YAML ` #` begins a comment: put the expression into quotes",
        ],
    );
    parser(
        "name: a\nfilter: ListedBy(evt.Meta.source_ip)\nstatics: [{meta: a, value: b}]\n",
        &[
            "error R011 2:9 `ListedBy` takes at least 2 arguments, this call has 1 | usage: ListedBy(string, string, string …)",
        ],
    );
    parser(
        "name: a\nstatics: [{target: source_ip, value: c}]\n",
        &[
            "warning R018 2:20 `source_ip` names no text of the event: nothing is set | did you mean `meta: source_ip` or `parsed: source_ip`?",
        ],
    );
    parser(
        "name: a\nstatics: [{target: evt.Nothing.x, value: c}]\n",
        &[
            "warning R018 2:20 `evt.Nothing.x` names no text of the event: nothing is set | paths look like `evt.Parsed.name`, `evt.Meta.name` or `evt.StrTime`",
        ],
    );
    parser(
        "name: a\ngrok: {apply_on: message, pattern: x, statics: [{meta: b}, {enriched: x, value: y}, {value: z}]}\n",
        &[
            "warning R022 2:50 the static has no value | add a `value` that is not empty, or an `expression`",
            "error R016 2:86 the static has no destination | name it with one of `meta`, `parsed`, `target` or `method`",
        ],
    );
    parser(
        &format!("name: a\n{STATICS}stash: [{{name: x, size: -1, strategy: FIFO}}]\n"),
        &[
            "error R006 3:10 the stash has no `key` | add the expression of the key, e.g. `key: evt.Parsed.pid`",
            "error R006 3:10 the stash has no `value` | add the expression of the value",
            "error R006 3:10 the stash has no `ttl` | say how long entries live, e.g. `ttl: 10s`",
            "error R010 3:25 a stash cannot hold -1 entries | write a number from 1 to 1000000",
            "warning R007 3:39 strategy `FIFO` is unknown: LRU is used | known here: ARC, LFU, LRU",
        ],
    );
    parser(
        &format!("name: a\n{STATICS}stash: [{{name: x, key: evt.StrTime, value: evt.StrTime, ttl: 10}}]\n"),
        &[
            "error R008 3:62 `ttl` is no duration: `10` | write a number and a unit, e.g. `30s`, `5m`, `1h30m`",
        ],
    );
    parser(
        "name: a\nwhitelist: {reason: x}\n",
        &[
            "error R014 1:1 the node does nothing | a node needs a `grok`, `nodes`, `statics` or a `whitelist`",
            "warning R022 2:13 the whitelist lists nothing and is not used | list what it lets through below `ip`, `cidr` or `expression`",
        ],
    );
    parser(
        &format!("name: a\n{STATICS}whitelist: {{ip: [192.0.2.1], contributors: [contributor == '']}}\n"),
        &[
            "warning R022 3:44 a line has no contributors: only overflows have | move the whitelist to a postoverflow",
        ],
    );
    parser(
        "name: a\nwhitelist:\n  ip: [192.0.2.0/24, nowhere, '::1']\n  cidr: [192.0.2.1, 192.0.2.0/33, 10.0.0.1/8]\n",
        &[
            "error R019 3:8 `192.0.2.0/24` is no address | networks stand below `cidr`",
            "error R019 3:22 `nowhere` is no address | write an address, e.g. `192.0.2.1` or `2001:db8::1`",
            "error R019 4:10 `192.0.2.1` is no network | single addresses stand below `ip`; or add the length, e.g. `/32`",
            "error R019 4:21 `192.0.2.0/33` is no network | write an address and a length, e.g. `192.0.2.0/24` or `2001:db8::/32`",
        ],
    );
    parser(
        &format!(
            "name: a\n{STATICS}data:\n  - source_url: x\n  - {{dest_file: ../x, type: string}}\n  \
             - {{dest_file: x, type: strings, ttl: 1d}}\n"
        ),
        &[
            "warning R021 4:5 the data entry has no `dest_file` and is not used | name the file in the data folder: `dest_file: some_list.txt`",
            "error R021 5:17 `../x` leads out of the data folder | name a file inside the data folder, e.g. `some_list.txt`",
            "warning R021 6:26 data type `strings` is unknown: expressions cannot read the file | known here: string, regexp, map, bots",
            "error R008 6:40 `ttl` is no duration: `1d` | write days as hours, e.g. `48h`",
        ],
    );
}

/// Expects one diagnostic that begins like this: the words are those of the expression language.
#[track_caller]
fn expression(filter: &str, expected: &str) {
    let loaded = load_parsers(file(&format!("name: a\n{STATICS}filter: {filter}\n")), "s01-parse");
    let got: Vec<String> = loaded.diagnostics.iter().map(show).collect();
    assert!(matches!(&got[..], [line] if line.starts_with(expected)), "{expected}\n{}", got.join("\n"));
}

#[test]
fn expressions() {
    expression("evt.Nope == 'x'", "error R011 3:13 ");
    expression("|\n    evt.Line.Raw == 'x'\n    and evt.Nope == 'x'", "error R011 5:13 ");
    expression(">-\n    evt.Line.Raw == 'x'\n    and evt.Nope == 'x'", "error R011 5:13 ");
    expression("'evt.Line.Raw == ''x'' && evt.Nope == 1'", "error R011 3:39 ");
    expression("\"evt.Line.Raw == \\\"x\\\" && evt.Nope == 1\"", "error R011 3:39 ");
    expression("evt.Line.Raw == 'x'\n  && evt.Nope == 1", "error R011 4:10 ");
    expression("evt.Line.Raw ==", "error R011 3:24 ");
    expression("evt.Line.Raw", "error R011 3:9 ");
    expression("any(LookupHost(evt.Line.Raw), {# == 'x'})", "warning R013 3:13 ");
    parser(&format!("name: a\n{STATICS}filter: evt.SetMeta('a', 'b')\n"), &[]);
}

/// A scenario with these lines more.
fn leaky(more: &str) -> String {
    format!("name: a\ndescription: b\ntype: leaky\ncapacity: 1\nleakspeed: 10s\nfilter: 'true'\n{more}")
}

#[test]
fn scenarios() {
    scenario(
        "type: leaky\n",
        &[
            "error R006 1:1 the scenario has no `name` | add one, e.g. `name: me/my-scenario`",
            "error R006 1:1 the scenario has no `description` | say in one line what it detects",
            "error R006 1:1 the scenario has no `filter` | say which events it takes, or write `filter: \"true\"`",
            "error R010 1:1 a leaky scenario needs a capacity | it takes a capacity above 0, e.g. `capacity: 5`",
            "error R006 1:1 the leaky scenario has no `leakspeed` | add one, e.g. `leakspeed: 10s`",
        ],
    );
    scenario(
        "name: a\ndescription: b\nfilter: 'true'\n",
        &[
            "error R006 1:1 the scenario has no `type` | write one of leaky, trigger, counter, conditional, bayesian",
        ],
    );
    scenario(
        "name: a\ndescription: b\nfilter: 'true'\ntype: leak\n",
        &["error R007 4:7 `type` cannot be `leak` | did you mean `leaky`?"],
    );
    scenario(
        "name: a\ndescription: b\nfilter: 'true'\ntype: leaky\n",
        &[
            "error R010 1:1 a leaky scenario needs a capacity | it takes a capacity above 0, e.g. `capacity: 5`",
            "error R006 1:1 the leaky scenario has no `leakspeed` | add one, e.g. `leakspeed: 10s`",
        ],
    );
    scenario(
        "name: a\ndescription: b\nfilter: 'true'\ntype: leaky\ncapacity: -1\nleakspeed: 0s\n",
        &[
            "error R010 5:11 a leaky scenario cannot have capacity -1 | it takes a capacity above 0, e.g. `capacity: 5`",
            "error R010 6:12 the `leakspeed` of a leaky scenario must be above 0 | e.g. `leakspeed: 10s`",
        ],
    );
    scenario(
        "name: a\ndescription: b\nfilter: 'true'\ntype: leaky\ncapacity: '5'\nleakspeed: 10\n",
        &[
            "error R005 5:11 `capacity` takes a whole number, not text | write it without quotes",
            "error R008 6:12 `leakspeed` is no duration: `10` | write a number and a unit, e.g. `30s`, `5m`, `1h30m`",
        ],
    );
    scenario(
        "name: a\ndescription: b\nfilter: 'true'\ntype: trigger\ncapacity: 5\n",
        &["error R010 5:11 a trigger scenario cannot have capacity 5 | it takes no capacity"],
    );
    scenario(
        "name: a\ndescription: b\nfilter: 'true'\ntype: counter\ncapacity: 5\n",
        &[
            "error R006 1:1 the counter scenario has no `duration` | add one, e.g. `duration: 10s`",
            "error R010 5:11 a counter scenario cannot have capacity 5 | it takes `capacity: -1`",
        ],
    );
    scenario("name: a\ndescription: b\nfilter: 'true'\ntype: counter\ncapacity: -1\nduration: 1m\n", &[]);
    scenario(
        "name: a\ndescription: b\nfilter: 'true'\ntype: conditional\ncapacity: 5\n",
        &[
            "error R006 1:1 the conditional scenario has no `condition` | say when it overflows",
            "error R006 1:1 the conditional scenario has no `leakspeed` | add one, e.g. `leakspeed: 10s`",
            "warning R010 5:11 a conditional scenario with a capacity overflows when that is full, too | write `capacity: -1` if only the condition counts",
        ],
    );
    scenario(
        "name: a\ndescription: b\nfilter: 'true'\ntype: bayesian\n",
        &[
            "error R010 1:1 a bayesian scenario needs a prior above 0, at most 1 | e.g. `bayesian_prior: 0.5`",
            "error R010 1:1 a bayesian scenario needs a threshold that is not 0 and at most 1 | e.g. `bayesian_threshold: 0.8`",
            "error R010 1:1 a bayesian scenario needs conditions | list them below `bayesian_conditions`",
            "error R010 1:1 a bayesian scenario needs a capacity | it takes `capacity: -1`",
        ],
    );
    scenario(
        "name: a\ndescription: b\nfilter: 'true'\ntype: bayesian\ncapacity: -1\nbayesian_prior: 0.5\n\
         bayesian_threshold: 0.8\nbayesian_conditions: [{condition: evt.Line.Raw == '', prob_given_evil: x}, {}]\n",
        &[
            "error R005 8:72 `prob_given_evil` takes a number, not text | -",
            "error R006 8:76 the bayesian condition has no `condition` | say when the evidence is seen",
        ],
    );
    scenario(
        &leaky("author: me\nblackhole: 2d\n"),
        &[
            "error R003 7:1 unknown key `author` in a scenario | known here: bayesian_conditions, bayesian_prior, bayesian_threshold, blackhole, cache_size, cancel_on, capacity, condition, data, debug, description, distinct, duration, filter, format, groupby, labels, leakspeed, name, overflow_filter, references, reprocess, scope, type, version",
            "error R008 8:12 `blackhole` is no duration: `2d` | write days as hours, e.g. `48h`",
        ],
    );
    scenario(
        &leaky("labels: {remediation: 'true'}\n"),
        &[
            "warning R022 7:23 `remediation` is the text `true`, not the boolean: nothing is decided | write it without quotes",
        ],
    );
    scenario(
        &leaky("labels: {a: 1, a: 2}\n"),
        &["error R004 7:16 key `a` is given twice | it stands in line 7 already: keep one of them"],
    );
}

#[test]
fn scopes() {
    scenario(
        &leaky("scope: {type: Ip, expression: evt.Line.Raw}\n"),
        &[
            "error R020 7:31 scope `Ip` takes no expression | leave the expression out, or name another scope with `type`",
        ],
    );
    scenario(
        &leaky("scope: {type: ip}\n"),
        &["error R020 7:15 scope `ip` needs an expression | did you mean `Ip`? capitals count"],
    );
    scenario(
        &leaky("scope: {type: username}\n"),
        &[
            "error R020 7:15 scope `username` needs an expression | say what the overflow is about, e.g. `expression: evt.Meta.username`",
        ],
    );
    scenario(&leaky("scope: {type: username, expression: evt.Meta.username}\n"), &[]);
    scenario(&leaky("scope: {type: Range}\n"), &[]);
    scenario(&leaky("scope: {}\n"), &[]);
}

#[test]
fn the_event_is_frozen_after_filter_and_groupby() {
    scenario(&leaky("groupby: \"evt.SetMeta('a', 'b') ? evt.Meta.a : ''\"\n"), &[]);
    for line in ["cancel_on: evt.SetMeta('a', 'b')\n", "condition: evt.SetMeta('a', 'b')\n"] {
        scenario(
            &leaky(line),
            &[
                "error R012 7:12 the expression changes something, but runs after the event is complete | move the changing call to a parser, or to the `filter` or `groupby` of the scenario",
            ],
        );
    }
    scenario(
        &leaky("distinct: \"evt.SetMeta('a', 'b') ? 'x' : 'y'\"\n"),
        &[
            "error R012 7:12 the expression changes something, but runs after the event is complete | move the changing call to a parser, or to the `filter` or `groupby` of the scenario",
        ],
    );
}

#[test]
fn contexts() {
    check(
        &load_context(file("name: x\n"), true),
        0,
        &[
            "warning R023 1:1 the item holds no context | add `context:` with names and lists of expressions below it",
        ],
    );
    check(
        &load_context(file("context:\n  user: evt.Meta.user\n"), true),
        0,
        &["error R005 2:9 `user` takes a list, not text | begin each item on its own line with `- `"],
    );
    check(&load_context(file("user:\n  - evt.Meta.user\n  - evt.Meta.user\n"), false), 1, &[]);
    let loaded = load_context(file("user:\n  - evt.Nope\n"), false);
    assert_eq!((loaded.items.len(), loaded.diagnostics[0].code), (0, "R011"));
}

#[test]
fn profiles() {
    let good =
        "name: x\nfilters:\n  - Alert.Remediation == true\ndecisions:\n  - type: ban\n    duration: 7d\n";
    let loaded = load_profiles(file(good));
    check(&loaded, 1, &[]);
    let decision = &loaded.items[0].decisions[0];
    assert_eq!((&*decision.duration, decision.nanoseconds), ("7d", 7 * 24 * 3_600_000_000_000));
    check(
        &load_profiles(file("name: x\nfilter: true\n")),
        0,
        &["error R003 2:1 unknown key `filter` in a profile | did you mean `filters`?"],
    );
    check(
        &load_profiles(file(
            "name: x\nfilters: ['true']\non_success: stop\ndecisions: [{duration: long, value: y}]\n",
        )),
        0,
        &[
            "error R007 3:13 `on_success` cannot be `stop` | known here: break, continue",
            "error R006 4:14 the decision has no `type` | e.g. `type: ban`",
            "error R008 4:24 `duration` is no duration: `long` | write a number and a unit, e.g. `30m`, `4h`, `7d`",
            "warning R022 4:37 `value` has no effect in a profile | decisions take the value of the alert's source",
        ],
    );
}

#[test]
fn attribution_of_profiles() {
    let profile = |attribution: &str| format!("name: x\nfilters: ['true']\nattribution: {attribution}\n");
    let check_reads = |text: &str, expected: Attribution| {
        let loaded = load_profiles(file(&profile(text)));
        check(&loaded, 1, &[]);
        assert_eq!(loaded.items[0].attribution, expected, "{text}");
    };
    check_reads("", Attribution::Sources);
    check_reads("sources", Attribution::Sources);
    check_reads("contributors", Attribution::Contributors { least: 1 });
    check_reads("{contributors: }", Attribution::Contributors { least: 1 });
    check_reads("{contributors: {least: 3}}", Attribution::Contributors { least: 3 });
    check_reads("prefixes", Attribution::Prefixes { budget: 0, least: 2 });
    check_reads("{prefixes: {budget: 5}}", Attribution::Prefixes { budget: 5, least: 2 });
    check_reads("{prefixes: {budget: 5, least: 1}}", Attribution::Prefixes { budget: 5, least: 1 });
    let check_bad = |text: &str, expected: &str| check(&load_profiles(file(&profile(text))), 0, &[expected]);
    check_bad("prefix", "error R007 3:14 `attribution` cannot be `prefix` | did you mean `prefixes`?");
    check_bad(
        "[sources]",
        "error R005 3:14 `attribution` takes text, not a list | put the value into quotes if its brackets or braces belong to it",
    );
    check_bad(
        "{sources: , prefixes: }",
        "error R005 3:15 `attribution` takes one name | write one of them, e.g. `attribution: {prefixes: {budget: 0}}`",
    );
    check_bad(
        "{sources: {least: 1}}",
        "error R003 3:25 unknown key `least` in `sources`, which has no parameters | -",
    );
    check_bad(
        "{contributors: {budget: 1}}",
        "error R003 3:30 unknown key `budget` in `contributors` | known here: least",
    );
    check_bad(
        "{contributors: {least: 0}}",
        "error R010 3:37 `least` cannot be 0 | write a whole number from 1 to 4294967295",
    );
    check_bad("{contributors: {least: few}}", "error R005 3:37 `least` takes a whole number, not text | -");
}

#[test]
fn simulation() {
    let check_covers = |text: &str, name: &str, expected: bool| {
        let loaded = load_simulation(file(text));
        check(&loaded, 1, &[]);
        assert_eq!(loaded.items[0].covers(name), expected, "{text:?} {name}");
    };
    check_covers("", "a", false);
    check_covers("simulation: off\n", "a", false);
    check_covers("simulation: true\n", "a", true);
    check_covers("simulation: true\nexclusions: [a]\n", "a", false);
    check_covers("simulation: false\nexclusions:\n  - a\n", "a", true);
    check(
        &load_simulation(file("simulate: true\n")),
        0,
        &[
            "error R003 1:1 unknown key `simulate` in the simulation file | known here: exclusions, simulation",
        ],
    );
}
