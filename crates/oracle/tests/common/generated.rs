//! Sets of rules that nobody wrote, and lines for them: everything that the rule language has and the public
//! hub uses little or not at all.

use std::sync::Arc;

use serde_json::{Value, json};
use testudo_rules::{
    SourceFile, load_context, load_parsers, load_postoverflows, load_scenarios, set::RuleSet,
};

use super::{Input, random::Random};

/// Which file a document belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    Parser(&'static str),
    Postoverflow(&'static str),
    Scenario,
    Context,
}

/// A document of a set.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) file: File,
    pub(crate) text: String,
}

/// A set of rules as texts, in running order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(pub(crate) Vec<Document>);

impl Rules {
    /// The set, and what was found wrong with it.
    pub(crate) fn load(&self) -> (RuleSet, Vec<String>) {
        let mut set = RuleSet::default();
        let mut wrong = Vec::new();
        for (at, Document { file, text }) in self.0.iter().enumerate() {
            let source = |folder: &str| {
                Arc::new(SourceFile { path: format!("{folder}/{at:03}.yaml"), text: text.clone() })
            };
            let diagnostics = match file {
                File::Parser(stage) => {
                    let loaded = load_parsers(source(stage), stage);
                    set.parsers.extend(loaded.items);
                    loaded.diagnostics
                }
                File::Postoverflow(stage) => {
                    let loaded = load_postoverflows(source(stage), stage);
                    set.postoverflows.extend(loaded.items);
                    loaded.diagnostics
                }
                File::Scenario => {
                    let loaded = load_scenarios(source("scenarios"));
                    set.scenarios.extend(loaded.items);
                    loaded.diagnostics
                }
                File::Context => {
                    let loaded = load_context(source("context"), false);
                    for context in loaded.items {
                        set.context.fields.extend(context.fields);
                    }
                    loaded.diagnostics
                }
            };
            wrong.extend(
                diagnostics.iter().map(|d| format!("{}: {} {}", d.place.file.path, d.code, d.message)),
            );
        }
        // In running order: by stage, then as they stand.
        set.parsers.sort_by(|a, b| a.stage.cmp(&b.stage));
        set.postoverflows.sort_by(|a, b| a.stage.cmp(&b.stage));
        (set, wrong)
    }
}

/// Reads lines `DATE svc=… ip=… user=… n=… path=… json=…`; the date may be `-`.
pub(crate) fn reader() -> Value {
    json!({
        "name": "test/reader", "description": "reads the lines of these tests", "onsuccess": "next_stage",
        "filter": "evt.Line.Labels.type == 'test'",
        "grok": {
            "pattern": "^%{NOTSPACE:when} svc=%{WORD:program} ip=%{DATA:ip} user=%{DATA:user} n=%{DATA:n}(?: path=%{NOTSPACE:path})?(?: json=%{GREEDYDATA:json})?$",
            "apply_on": "Line.Raw",
            "statics": [{"parsed": "reader", "value": "grok"}],
        },
        "statics": [
            {"target": "evt.StrTime", "expression": "evt.Parsed.when == '-' ? '' : evt.Parsed.when"},
            {"meta": "source_ip", "expression": "evt.Parsed.ip"},
            {"meta": "user", "expression": "evt.Parsed.user"},
            {"meta": "service", "expression": "evt.Parsed.program"},
        ],
    })
}

/// The last stage: dates, and a node that lets everything through.
pub(crate) fn last_stage() -> [Value; 3] {
    [
        json!({
            "name": "test/dates", "description": "reads dates", "filter": "evt.StrTime != ''",
            "statics": [
                {"method": "ParseDate", "expression": "evt.StrTime"},
                {"target": "evt.MarshaledTime", "expression": "evt.Enriched.MarshaledTime"},
            ],
        }),
        json!({
            "name": "test/json", "description": "reads JSON",
            "filter": "evt.Parsed.json != '' && UnmarshalJSON(evt.Parsed.json, evt.Unmarshaled, 'j') in ['', nil]",
            "statics": [{"meta": "j", "expression": "evt.Unmarshaled.j.k"}],
        }),
        json!({
            "name": "test/all", "description": "lets all through", "filter": "evt.Line.Raw != ''",
            "statics": [{"meta": "all", "value": "yes"}],
        }),
    ]
}

/// Where an expression runs, which says what it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a parser: it may write.
    Parser,
    /// In a postoverflow.
    Postoverflow,
    /// In the filter or the key of a scenario: it may write.
    Filter,
    /// When the event is complete.
    Frozen,
    /// In a condition.
    Bucket,
    /// In an overflow filter.
    Overflow,
}

const SERVICES: &[&str] = &["a", "b", "c"];
const USERS: &[&str] = &["u1", "u2", "root", "Ünal"];

/// Makes documents.
pub(crate) struct Maker<'r> {
    pub(crate) random: &'r mut Random,
}

impl Maker<'_> {
    fn chance(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }

    fn word(&mut self, of: &[&'static str]) -> &'static str {
        self.random.word(of)
    }

    /// A test of one slot, as most filters begin with.
    fn guard(&mut self) -> String {
        let service = self.word(SERVICES);
        let other = self.word(SERVICES);
        match self.random.below(9) {
            0..=1 => format!("evt.Parsed.program == '{service}'"),
            2..=3 => format!("evt.Meta.log_type == '{service}'"),
            4 => format!("evt.Meta.service in ['{service}', '{other}']"),
            5 => format!("evt.Meta.log_type != '{service}'"),
            6 => format!("evt.Parsed.program startsWith '{service}'"),
            7 => format!("evt.Meta.service contains '{service}'"),
            _ => format!("'{service}' == evt.Meta['service']"),
        }
    }

    /// A test that may write the event.
    fn writing(&mut self) -> String {
        let service = self.word(SERVICES);
        let atom = match self.random.below(6) {
            0 => format!("evt.SetMeta('log_type', '{service}')"),
            1 => "evt.SetMeta('service', evt.Parsed.user)".to_owned(),
            2 => format!("evt.SetParsed('program', '{service}')"),
            3 => "evt.SetMeta(evt.Parsed.user, evt.Parsed.n)".to_owned(),
            4 => "SetInStash('st', evt.Parsed.user, evt.Parsed.n) == nil".to_owned(),
            _ => "UnmarshalJSON(evt.Parsed.json, evt.Unmarshaled, 'w') in ['', nil]".to_owned(),
        };
        match self.random.below(4) {
            0 => format!("({atom} && false)"),
            1 => format!("!{atom}"),
            _ => atom,
        }
    }

    fn atom(&mut self, at: At) -> String {
        let (service, user) = (self.word(SERVICES), self.word(USERS));
        let digit = self.random.below(10);
        let atoms: &[&str] = &[
            "evt.Parsed.n startsWith '<D>'",
            "evt.Parsed.n contains '<D>'",
            "evt.Parsed.n matches '^[0-9]+$'",
            "evt.Meta.user == evt.Parsed.user",
            "evt.Meta.user == '<U>'",
            "evt.GetMeta('user') == '<U>'",
            "Lower(evt.Parsed.user) == 'ünal'",
            "evt.Line.Src endsWith '1.log'",
            "len(evt.Parsed.user) > 2",
            "int(evt.Parsed.n) > <D>0",
            "evt.Unmarshaled.j.k == 'v'",
            "evt.Unmarshaled?.j?.k == 'v'",
            "evt.Unmarshaled.j.n > <D>",
            "'user' in evt.Meta",
            "'<S>' in evt.Parsed",
            "evt.GetType() == 'log'",
            "evt.GetType() == 'overflow'",
            "evt.Overflow.Reprocess",
            "evt.Overflow.Alert == nil",
            "evt.Overflow.Alert.Remediation",
            "evt.Overflow.Alert.GetEventsCount() > <D>",
            "evt.Overflow.Alert?.Scenario != 'test/s1'",
            "len(evt.Overflow.GetSources()) > 1",
            "len(evt.Overflow.APIAlerts) == 1",
            "evt.Overflow.Mapkey == ''",
            "evt.Time.Minute() % 2 == 0",
            "evt.Line.Time < evt.Time",
            "evt.MarshaledTime == ''",
            "evt.StrTime != ''",
            "evt.Stage == 's01-parse'",
            "evt.Process",
            "evt.Whitelisted",
            "evt.WhitelistReason == ''",
            "GetFromStash('st', evt.Meta.user) != ''",
            "GetFromStash('st', '<U>') == '<D>'",
            "any(evt.ParseIPSources(), {# contains '.'})",
            "IpInRange(evt.Meta.source_ip, '192.0.2.0/30')",
            "len(evt.Meta) > 4",
            "len(evt.Parsed) > 7",
            "evt.Meta['all'] == 'yes'",
            "evt.Meta[evt.Parsed.user] != ''",
            "TimeNow() contains 'T12:0'",
            "evt.Line.Labels.extra == 'x'",
            "evt.Enriched.MarshaledTime != ''",
            "evt.Parsed.reader == 'grok'",
            "evt.Parsed.missing == ''",
            "evt.Parsed.path == nil || evt.Parsed.path startsWith '/'",
            "evt.Parsed.opt != ''",
            "evt.Parsed.dup == '<U>'",
            "true",
            "false",
        ];
        let mut atom = self.word(atoms);
        if at == At::Bucket || (at == At::Overflow && self.chance(60)) {
            let of_queue: &[&str] = &[
                "len(queue.Queue) >= 3",
                "len(queue.Queue) == queue.L",
                "leaky.Total_count > <D>",
                "leaky.Total_count == len(queue.Queue)",
                "count(queue.Queue, {#.Meta.user == '<U>'}) > 1",
                "count(queue.Queue, #.Parsed.n contains '<D>') >= 2",
                "len(filter(queue.Queue, {#.Meta.service == '<S>'})) > 1",
                "len(filter(queue.Queue, {int(#.Parsed.n) > <D>})) > 1",
                "len(uniq(map(queue.Queue, {#.Meta.user}))) > 1",
                "len(uniq(map(queue.Queue, {#.Meta.source_ip contains ':' ? IpToRange(#.Meta.source_ip, '64') : Lower(#.Meta.user + 'x')}))) > 1 && leaky.Total_count % 2 == 0",
                "len(uniq(map(queue.Queue, {string(int(#.Parsed.n))}))) > 1",
                "leaky.Total_count % 2 == 0 && len(uniq(map(queue.Queue, {#.Meta.user}))) > 1 && len(queue.Queue) > 2",
                "leaky.Total_count % 3 == 0",
                "any(queue.Queue, {#.Unmarshaled.j.k == 'v'})",
                "any(queue.Queue, {#.Meta.user != evt.Meta.user})",
                "all(queue.Queue, {'user' in #.Meta})",
                "none(queue.Queue, {#.Meta.user == '<U>'})",
                "queue.Queue[-1].Meta.user == '<U>'",
                "queue.Queue[-2].Meta.user == queue.Queue[-1].Meta.user",
                "queue.Queue[0].Time < queue.Queue[-1].Time",
                "queue.Queue[0].MarshaledTime != ''",
                "queue.Queue[-1].Line.Time > queue.Queue[0].Line.Time",
                "queue.Queue[0].GetMeta('user') == '<U>'",
                "queue.Queue[0].Unmarshaled.j.k == 'v'",
                "len(queue.Queue[0].Parsed) > 7",
                "queue.Queue[0].Overflow.Alert?.GetScenario() == 'test/s0'",
                "count(queue.Queue, {#.Overflow.Alert?.Scenario == 'test/s0'}) > 1",
                "any(queue.Queue, {len(#.Overflow.GetSources()) > 0})",
                "leaky.First_ts < leaky.Last_ts",
                "leaky.Mapkey startsWith '<D>'",
                "leaky.Factory.Spec.Name == 'test/s1'",
                "leaky.Factory.Spec.LeakSpeed == '10s'",
                "leaky.Duration > duration('11s')",
                "let l = filter(queue.Queue, {#.Meta.user == '<U>'}); len(l) > 1 && l[-1].Meta.service == '<S>'",
                "len(queue.Queue[-2:]) == 2 && queue.Queue[-2:][0].Meta.user == '<U>'",
                "MedianInterval(map(queue.Queue[-3:], {#.Time})) < duration('5s')",
                "leaky.Queue.L == queue.L",
                "len(uniq(map(queue.Queue, {#.Meta.user}))) > 1",
            ];
            if at == At::Overflow || self.chance(70) {
                atom = self.word(of_queue);
            }
        }
        if at == At::Overflow && self.chance(40) {
            atom = self.word(&[
                "signal.Alert.GetEventsCount() > <D>",
                "len(signal.Sources) > 1",
                "'192.0.2.1' in signal.GetSources()",
                "signal.Alert.Source.Value == '192.0.2.1'",
                "signal.Alert.Events[0].GetMeta('user') == '<U>'",
                "signal.Mapkey contains '<D>'",
                "evt.Meta.user == '<U>'",
            ]);
        }
        atom.replace("<D>", &digit.to_string()).replace("<U>", user).replace("<S>", service)
    }

    fn test(&mut self, at: At, depth: usize) -> String {
        let writes = matches!(at, At::Parser | At::Filter | At::Postoverflow);
        if writes && self.chance(8) {
            return self.writing();
        }
        if depth == 0 || self.chance(35) {
            return if at != At::Overflow && self.chance(30) { self.guard() } else { self.atom(at) };
        }
        let left = self.test(at, depth - 1);
        let right = self.test(at, depth - 1);
        match self.random.below(5) {
            0..=1 => format!("({left} && {right})"),
            2 => format!("({left} || {right})"),
            3 => format!("!({left})"),
            _ => format!("(({left}) ? ({right}) : {})", self.guard()),
        }
    }

    /// A filter: most begin with a test that the engine's index knows.
    fn filter(&mut self, at: At) -> String {
        if self.chance(15) {
            return self.word(&["evt.Meta.all == 'yes'", "evt.GetType() == 'overflow'", "1 == 1"]).to_owned();
        }
        let guard = self.guard();
        match self.random.below(4) {
            0 => guard,
            1 | 2 => format!("{guard} && {}", self.test(at, 2)),
            _ => self.test(at, 2),
        }
    }

    fn text(&mut self, at: At) -> String {
        let mut of: Vec<&'static str> = vec![
            "evt.Meta.user",
            "evt.Meta.source_ip",
            "evt.Meta.source_ip",
            "evt.Parsed.program",
            "evt.Parsed.n",
            "evt.Parsed.user + '/' + evt.Parsed.n",
            "Lower(evt.Parsed.user)",
            "Upper(evt.Parsed.user + 'ß') + Lower(evt.Meta.service + evt.Parsed.program)",
            "Lower(evt.Meta.user != '' ? Upper(evt.Parsed.user) : 'X' + evt.Parsed.n)",
            "evt.Unmarshaled.j.k",
            "evt.Unmarshaled.x",
            "evt.GetMeta('source_ip')",
            "evt.Meta[evt.Parsed.user]",
            "evt.Line.Src",
            "evt.ParseIPSources()[0]",
            "IpToRange(evt.Meta.source_ip, '/24')",
            "Split(evt.Parsed.user, '')[1]",
            "evt.Parsed.path",
            "evt.Parsed.opt",
            "evt.GetType() == 'overflow' ? evt.Overflow.Alert.GetScenario() : evt.Meta.service",
            "evt.Stage",
            "string(len(evt.Parsed))",
            "evt.Meta.j ?? 'none'",
            "''",
        ];
        if at != At::Overflow {
            of.push("GetFromStash('st', evt.Parsed.user)");
            of.push("evt.Overflow.Alert.Source.Value");
            of.push("evt.Overflow.Alert.Source.Range");
        }
        self.word(&of).to_owned()
    }

    /// A value of any kind, for statics.
    fn value(&mut self) -> String {
        if self.chance(70) {
            return self.text(At::Parser);
        }
        self.word(&[
            "int(evt.Parsed.n)",
            "float(evt.Parsed.n) / 3",
            "1.5",
            "0",
            "evt.Unmarshaled",
            "evt.Unmarshaled.j",
            "evt.Unmarshaled.j.list",
            "[evt.Parsed.user]",
            "[1, 'a', nil]",
            "{'a': evt.Parsed.user}",
            "nil",
            "filter(['a', 'b'], # == evt.Parsed.user)",
            "map(evt.ParseIPSources(), # + 'x')",
            "evt.Parsed.user == 'root' ? evt.Meta : evt.Parsed.n",
            "evt.Parsed.user == 'root' && evt.Parsed.n == '77' ? true : 'x'",
            "evt.Parsed.n == '77' ? evt.ParseIPSources() : Split(evt.Parsed.user, '')",
            "evt.Parsed.n == '78' ? evt.Time : 'no'",
            "evt.Parsed.n == '78' ? duration('5s') : 3",
            "evt.Parsed.n == '7' ? evt.ParseIPSources() : evt.Parsed.n",
            "evt.Parsed.n == '7' ? Split(evt.Parsed.user, '')[1:] : evt.Parsed.user",
        ])
        .to_owned()
    }

    fn statics(&mut self, most: usize) -> Value {
        let count = 1 + self.random.below(most);
        (0..count).map(|_| self.assignment()).collect()
    }

    fn assignment(&mut self) -> Value {
        let source = if self.chance(35) {
            ("value", self.word(&["a", "b", "fixed", "192.0.2.9", "02/Jan/2006:15:04:05 -0700"]).to_owned())
        } else {
            ("expression", self.value())
        };
        let (key, target) = match self.random.below(16) {
            0..=3 => ("meta", self.word(&["log_type", "service", "user", "m1", "SourceRange", "source_ip"])),
            4..=5 => ("parsed", self.word(&["program", "n", "user", "p1", "opt"])),
            6 => (
                "target",
                self.word(&["evt.Enriched.ASNumber", "evt.Enriched.IsoCode", "evt.Enriched.Latitude"]),
            ),
            7 => ("target", self.word(&["evt.Unmarshaled.j", "evt.Unmarshaled.x.y"])),
            8 => ("target", "evt.Line.Labels.extra"),
            9 => ("target", self.word(&["evt.StrTime", "evt.StrTimeFormat", "evt.MarshaledTime"])),
            10 => (
                "target",
                self.word(&["evt.Line.Module", "evt.Line.Src", "evt.WhitelistReason", "source_ip"]),
            ),
            11 if self.chance(30) => {
                return json!({"target": "evt.Stage", "value": self.word(&["s01-parse", "s02-enrich", "s09-none"])});
            }
            12 => ("method", self.word(&["GeoIpCity", "IpToRange", "reverse_dns", "UnmarshalJSON"])),
            13 if self.chance(40) => ("method", "ParseDate"),
            14 => (
                "target",
                self.word(&[
                    "evt.Overflow.Alert.Source.Value",
                    "evt.Overflow.Alert.Source.Scope",
                    "evt.Overflow.Alert.Scenario",
                    "evt.Overflow.Mapkey",
                ]),
            ),
            _ => ("meta", self.word(&["m2", "m3"])),
        };
        json!({key: target, source.0: source.1})
    }

    fn grok(&mut self) -> Value {
        let pattern = self.word(&[
            "%{WORD:opt}(?:/%{INT:num})?",
            "^%{USERNAME:dup}|%{INT:dup}$",
            "(?:%{INT:num}|%{WORD:opt})",
            "%{INT}",
            "%{TWO:pair}",
            "%{IPORHOST:host}",
            "^(?P<named>.)%{GREEDYDATA:rest}",
            "%{NOTSPACE:program}",
            "u%{INT:n}",
            "%{DATA:opt}-%{DATA:dup}$",
            "(?i)%{WORD:opt} %{WORD:dup}",
        ]);
        let statics = if self.chance(40) { self.statics(2) } else { json!([]) };
        let (key, source) = if self.chance(70) {
            ("apply_on", self.word(&["user", "n", "path", "Line.Raw", "missing", "opt", "ip"]).to_owned())
        } else {
            ("expression", self.value())
        };
        let mut grok = json!({"pattern": pattern, key: source, "statics": statics});
        if self.chance(5) {
            grok["pattern"] = json!("%{NOSUCH:x}");
        }
        if self.chance(8) {
            grok = json!({"expression": "evt.Meta.user"});
        }
        grok
    }

    fn whitelist(&mut self) -> Value {
        let mut list = json!({"reason": self.word(&["ours", "theirs"])});
        if self.chance(50) {
            list["ip"] = json!([self.word(&["192.0.2.1", "::ffff:192.0.2.3", "2001:db8::1", "fe80::1"])]);
        }
        if self.chance(40) {
            list["cidr"] = json!([self.word(&["192.0.2.2/31", "2001:db8::7/64", "::ffff:192.0.2.0/127"])]);
        }
        if self.chance(50) {
            list["expression"] = json!([self.test(At::Parser, 1), "evt.Meta.user == 'root'"]);
        }
        list
    }

    /// Who is let off of those who poured into a bucket.
    fn about_contributor(&mut self) -> String {
        if self.chance(20) {
            return self.test(At::Postoverflow, 1);
        }
        self.word(&[
            "contributor endsWith '1'",
            "contributor in evt.ParseIPSources()",
            "GetFromStash('st', contributor) != ''",
            "GetFromStash('other', evt.Overflow.Alert.Source.Value + contributor) != 'x'",
            "contributor + 1 == ''",
        ])
        .to_owned()
    }

    fn node(&mut self, name: &str, depth: usize) -> Value {
        let mut node = json!({"name": name, "description": "generated"});
        if self.chance(60) {
            node["filter"] = json!(self.filter(At::Parser));
        }
        match self.random.below(4) {
            0 => {}
            1 => node["onsuccess"] = json!("continue"),
            _ => node["onsuccess"] = json!("next_stage"),
        }
        if self.chance(10) {
            node["pattern_syntax"] =
                json!({"TWO": self.word(&["%{WORD:first}.", "[a-z]{2}", "(", "%{INT:n}%{NOSUCH}"])});
        }
        if self.chance(12) {
            node["whitelist"] = self.whitelist();
        }
        if self.chance(50) {
            node["grok"] = self.grok();
        }
        if self.chance(15) {
            node["stash"] = json!([{
                "name": self.word(&["st", "st", "other"]), "key": self.text(At::Parser), "value": self.text(At::Parser),
                "ttl": self.word(&["5s", "1m", "0.5s"]), "size": 1 + self.random.below(3),
                "strategy": self.word(&["LRU", "LFU", "ARC"]),
            }]);
        }
        if depth > 0 && self.chance(50) {
            let children = 1 + self.random.below(3);
            node["nodes"] = (0..children).map(|at| self.node(&format!("{name}-{at}"), depth - 1)).collect();
        }
        if self.chance(70) || node.get("nodes").is_none() {
            node["statics"] = self.statics(3);
        }
        node
    }

    fn duration(&mut self) -> &'static str {
        self.word(&["1s", "3s", "10s", "0.5s", "1m", "1m30s"])
    }

    fn scenario(&mut self, name: &str) -> Value {
        let mut scenario = json!({
            "name": name, "description": "generated", "filter": self.filter(At::Filter),
            "labels": {"remediation": self.chance(50)},
        });
        let mut set = |key: &str, value: Value| scenario[key] = value;
        match self.random.below(10) {
            0..=3 => {
                set("type", json!("leaky"));
                set("capacity", json!(1 + self.random.below(4)));
                set("leakspeed", json!(self.duration()));
                if self.chance(20) {
                    set("duration", json!(self.duration()));
                }
            }
            4 => set("type", json!("trigger")),
            5 => {
                set("type", json!("counter"));
                set("capacity", json!(-1));
                set("duration", json!(self.duration()));
            }
            6..=7 => {
                set("type", json!("conditional"));
                set("capacity", if self.chance(70) { json!(-1) } else { json!(self.random.below(4)) });
                set("leakspeed", json!(self.duration()));
                set("condition", json!(self.test(At::Bucket, 2)));
                if self.chance(15) {
                    set("duration", json!(self.duration()));
                }
            }
            _ => {
                set("type", json!("bayesian"));
                set("capacity", json!(-1));
                set("leakspeed", json!(self.duration()));
                set("bayesian_prior", json!(0.5));
                set("bayesian_threshold", json!(0.6 + 0.1 * self.random.below(4) as f64));
                let conditions: Vec<Value> = (0..=self.random.below(3))
                    .map(|_| {
                        json!({
                            "condition": self.test(At::Bucket, 1), "guillotine": self.chance(50),
                            "prob_given_evil": 0.8, "prob_given_benign": 0.2 + 0.1 * self.random.below(4) as f64,
                        })
                    })
                    .collect();
                set("bayesian_conditions", json!(conditions));
            }
        }
        if self.chance(75) {
            set("groupby", json!(self.text(At::Filter)));
        }
        if self.chance(25) {
            set("distinct", json!(self.text(At::Frozen)));
        }
        if self.chance(12) {
            set("cancel_on", json!(self.test(At::Frozen, 1)));
        }
        if self.chance(10) {
            set("condition", json!(self.test(At::Bucket, 1)));
        }
        if self.chance(20) {
            set("overflow_filter", json!(self.test(At::Overflow, 1)));
        }
        if self.chance(35) {
            set("blackhole", json!(self.duration()));
        }
        if self.chance(20) {
            set("cache_size", json!(1 + self.random.below(5)));
        }
        if self.chance(30) {
            set("reprocess", json!(true));
        }
        match self.random.below(6) {
            0 => set("scope", json!({"type": "Range"})),
            1 => set("scope", json!({"type": "Range", "expression": self.text(At::Frozen)})),
            2 => set("scope", json!({"type": "user", "expression": self.text(At::Frozen)})),
            _ => {}
        }
        scenario
    }

    /// A set of rules.
    pub(crate) fn rules(&mut self) -> Rules {
        let mut rules = Rules::default();
        let mut add = |file, document: &Value| rules.0.push(Document { file, text: document.to_string() });
        for at in 0..self.random.below(2) {
            add(File::Parser("s00-raw"), &self.node(&format!("test/raw{at}"), 1));
        }
        add(File::Parser("s00-raw"), &reader());
        for at in 0..=self.random.below(4) {
            add(File::Parser("s01-parse"), &self.node(&format!("test/parse{at}"), 2));
        }
        add(
            File::Parser("s01-parse"),
            &json!({"name": "test/rest", "description": "moves on", "onsuccess": "next_stage", "filter": "true",
                "statics": [{"meta": "log_type", "expression": "evt.Parsed.program"}]}),
        );
        for document in last_stage() {
            add(File::Parser("s02-enrich"), &document);
        }
        for at in 0..self.random.below(3) {
            add(File::Parser("s02-enrich"), &self.node(&format!("test/enrich{at}"), 1));
        }
        for at in 0..2 + self.random.below(6) {
            let scenario = self.scenario(&format!("test/s{at}"));
            add(File::Scenario, &scenario);
            // Another document that shares its buckets.
            if self.chance(12) {
                let mut other = self.scenario(&format!("test/s{at}"));
                other["filter"] = scenario["filter"].clone();
                match scenario.get("groupby") {
                    Some(group) => other["groupby"] = group.clone(),
                    None => drop(other.as_object_mut().map(|map| map.remove("groupby"))),
                }
                add(File::Scenario, &other);
            }
        }
        for at in 0..self.random.below(3) {
            let stage = self.word(&["s00-enrich", "s01-whitelist"]);
            let mut node = self.node(&format!("test/post{at}"), 1);
            if self.chance(50) {
                node["filter"] = json!(self.test(At::Postoverflow, 1));
            }
            if self.chance(30) {
                node["whitelist"] = self.whitelist();
            }
            if self.chance(30) {
                node["whitelist"]["contributors"] =
                    json!([self.about_contributor(), self.about_contributor()]);
            }
            add(File::Postoverflow(stage), &node);
        }
        if self.chance(50) {
            let list = "map(evt.ParseIPSources(), # + '<x>')";
            add(
                File::Context,
                &json!({
                    "users": ["evt.Meta.user"], "none": ["evt.Meta.none"],
                    "mixed": [self.text(At::Frozen), "len(evt.Meta)", list, "evt.ParseIPSources()", "[1, 'a']"],
                    "long": ["repeat(evt.Parsed.user, 700)"], "request": ["req.Method + 'x'", "len(match)"],
                    "number": ["evt.Unmarshaled.j.n", "0", "1.5", "evt.Unmarshaled.j", "evt.Overflow.Reprocess"],
                }),
            );
        }
        rules
    }

    /// Lines of some sources for such sets: in order and out of it, at one instant and hours apart, some
    /// without a date.
    pub(crate) fn lines(&mut self, sources: usize, count: usize) -> Vec<Input> {
        // 2026-11-15T12:00:00Z, in milliseconds.
        let mut clock: i64 = 1_794_744_000_000;
        let mut lines = Vec::with_capacity(count);
        for _ in 0..count {
            clock += match self.random.below(20) {
                0..=5 => 0,
                6..=11 => self.random.below(1_500) as i64,
                12..=15 => self.random.below(8) as i64 * 1_000,
                16 => -(self.random.below(20_000) as i64),
                17 => 10_000,
                18 => self.random.below(400_000) as i64,
                _ if self.chance(20) => self.random.below(40_000_000) as i64,
                _ => 100,
            };
            lines.push(Input { source: self.random.below(sources), text: self.line(clock) });
        }
        lines
    }

    fn line(&mut self, clock: i64) -> String {
        let time = testudo_event::Timestamp::from_unix(clock / 1_000, (clock % 1_000) as u32 * 1_000_000);
        let when = match self.random.below(12) {
            0 => "-".to_owned(),
            1 => time.with_offset(3_600).to_rfc3339_nano(),
            2 if self.chance(30) => "yesterday".to_owned(),
            3 => time.unix().to_string(),
            _ => time.to_rfc3339_nano(),
        };
        let ip = self.word(&[
            "192.0.2.1",
            "192.0.2.1",
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8:0:1::1",
            "::ffff:192.0.2.1",
            "fe80::1%eth0",
            "nobody",
            "",
        ]);
        let (service, user) =
            (self.word(&["a", "a", "b", "c"]), self.word(&["u1", "u1", "u2", "root", "Ünal", ""]));
        let n = self.word(&["1", "2", "3", "7", "77", "78", "404", "x", "9999999999", ""]);
        let mut line = format!("{when} svc={service} ip={ip} user={user} n={n}");
        if self.chance(40) {
            line += self.word(&[" path=/", " path=/a/b?c=d", " path=u1/22"]);
        }
        if self.chance(30) {
            line += self.word(&[
                r#" json={"k":"v","n":3}"#,
                r#" json={"k":["x",1],"n":"3"}"#,
                r#" json={"k":null}"#,
                r#" json={"list":["a","b"],"k":{"a":1.5}}"#,
                " json={broken",
                r#" json=["a",2]"#,
            ]);
        }
        if self.chance(3) {
            self.word(&["garbage", "x y z", " ", "- svc=a"]).clone_into(&mut line);
        }
        line
    }
}
