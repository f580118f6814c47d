//! The sections of `metrics`: which samples they count, and how they are shown.

use serde_json::{Map, Value};

use crate::output::{Align, Table};
use crate::prometheus::Sample;

/// The section that comes from the database.
pub(super) const BOUNCERS: &str = "bouncers";

/// A section.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    /// The group by which it is asked for, too.
    pub(super) group: &'static str,
    /// The samples that it counts.
    counts: &'static [Count],
    /// Names of the columns: as many as there are keys, then the fields.
    columns: &'static [&'static str],
    /// How many names lead to a record or number.
    keys: usize,
    /// The fields of a record, in the order of their columns; none for a bare number.
    fields: &'static [&'static str],
    /// Whether there is a table for each first key, which then has no column.
    is_split: bool,
}

/// Samples that are counted together.
struct Count {
    metric: Metric,
    /// The labels that lead to the record; several names for one say which is tried first.
    path: &'static [Key],
    /// The field of the record; empty for a bare number.
    field: &'static str,
}

enum Metric {
    Named(&'static str),
    /// `cs_filesource_hits_total` and its kin: everything between these.
    Between(&'static str, &'static str),
}

enum Key {
    Label(&'static str),
    /// Kind and name of a source: `file:/var/log/auth.log`.
    Source,
}

use Key::{Label, Source};
use Metric::{Between, Named};

const fn count(metric: &'static str, path: &'static [Key], field: &'static str) -> Count {
    Count { metric: Named(metric), path, field }
}

const BLANK: Section = Section {
    name: "",
    title: "",
    description: "",
    group: "",
    counts: &[],
    columns: &[],
    keys: 1,
    fields: &[],
    is_split: false,
};

/// All sections, by their names.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "acquisition",
        title: "Acquisition Metrics",
        description: "Lines of each source: read, parsed, unparsed, poured to buckets, whitelisted",
        group: "engine",
        counts: &[
            Count { metric: Between("cs_", "source_hits_total"), path: &[Source], field: "reads" },
            count("cs_parser_hits_ok_total", &[Source], "parsed"),
            count("cs_parser_hits_ko_total", &[Source], "unparsed"),
            count("cs_bucket_poured_total", &[Source], "pour"),
            count("cs_node_wl_hits_ok_total", &[Source], "whitelisted"),
        ],
        columns: &[
            "Source",
            "Lines read",
            "Lines parsed",
            "Lines unparsed",
            "Lines poured to bucket",
            "Lines whitelisted",
        ],
        fields: &["reads", "parsed", "unparsed", "pour", "whitelisted"],
        ..BLANK
    },
    Section {
        name: "alerts",
        title: "Local API Alerts",
        description: "Alerts of each scenario",
        group: "lapi",
        counts: &[count("cs_alerts", &[Label("reason")], "")],
        columns: &["Reason", "Count"],
        ..BLANK
    },
    Section {
        name: "appsec-engine",
        title: "Appsec Metrics",
        description: "Requests that the WAF has looked at, and blocked",
        group: "appsec",
        counts: &[
            count("cs_appsec_reqs_total", &[Label("appsec_engine")], "processed"),
            count("cs_appsec_block_total", &[Label("appsec_engine")], "blocked"),
            count("cs_appsec_challenge_requested_total", &[Label("appsec_engine")], "challenge_requested"),
            count("cs_appsec_challenge_accepted_total", &[Label("appsec_engine")], "challenge_accepted"),
            count("cs_appsec_challenge_rejected_total", &[Label("appsec_engine")], "challenge_rejected"),
        ],
        columns: &["Appsec Engine", "Processed", "Blocked", "Ch. Requested", "Ch. Accepted", "Ch. Rejected"],
        fields: &["processed", "blocked", "challenge_requested", "challenge_accepted", "challenge_rejected"],
        ..BLANK
    },
    Section {
        name: "appsec-rule",
        title: "Appsec Rule Metrics",
        description: "How often each rule of the WAF was triggered",
        group: "appsec",
        counts: &[count("cs_appsec_rule_hits", &[Label("appsec_engine"), Label("rule_name")], "triggered")],
        columns: &["Rule ID", "Triggered"],
        keys: 2,
        fields: &["triggered"],
        is_split: true,
    },
    Section {
        name: BOUNCERS,
        title: "Bouncer Metrics",
        description: "What bouncers have reported: decisions in force, what was dropped and processed",
        group: "lapi",
        ..BLANK
    },
    Section {
        name: "decisions",
        title: "Local API Decisions",
        description: "Decisions in force, by reason, origin and action",
        group: "lapi",
        counts: &[count("cs_active_decisions", &[Label("reason"), Label("origin"), Label("action")], "")],
        columns: &["Reason", "Origin", "Action", "Count"],
        keys: 3,
        ..BLANK
    },
    Section {
        name: "lapi",
        title: "Local API Metrics",
        description: "Requests to the local API",
        group: "lapi",
        counts: &[count("cs_lapi_route_requests_total", &[Label("route"), Label("method")], "")],
        columns: &["Route", "Method", "Hits"],
        keys: 2,
        ..BLANK
    },
    Section {
        name: "lapi-bouncer",
        title: "Local API Bouncers Metrics",
        description: "Requests of each bouncer to the local API",
        group: "lapi",
        counts: &[count(
            "cs_lapi_bouncer_requests_total",
            &[Label("bouncer"), Label("route"), Label("method")],
            "",
        )],
        columns: &["Bouncer", "Route", "Method", "Hits"],
        keys: 3,
        ..BLANK
    },
    Section {
        name: "lapi-decisions",
        title: "Local API Bouncers Decisions",
        description: "Answers to bouncers that ask about single addresses: with and without a decision",
        group: "lapi",
        counts: &[
            count("cs_lapi_decisions_ok_total", &[Label("bouncer")], "NonEmpty"),
            count("cs_lapi_decisions_ko_total", &[Label("bouncer")], "Empty"),
        ],
        columns: &["Bouncer", "Empty answers", "Non-empty answers"],
        fields: &["Empty", "NonEmpty"],
        ..BLANK
    },
    Section {
        name: "lapi-machine",
        title: "Local API Machines Metrics",
        description: "Requests of each machine to the local API",
        group: "lapi",
        counts: &[count(
            "cs_lapi_machine_requests_total",
            &[Label("machine"), Label("route"), Label("method")],
            "",
        )],
        columns: &["Machine", "Route", "Method", "Hits"],
        keys: 3,
        ..BLANK
    },
    Section {
        name: "parsers",
        title: "Parser Metrics",
        description: "Lines that each parser was asked about, parsed, and left unparsed",
        group: "engine",
        counts: &[
            count("cs_node_hits_total", &[Label("name")], "hits"),
            count("cs_node_hits_ok_total", &[Label("name")], "parsed"),
            count("cs_node_hits_ko_total", &[Label("name")], "unparsed"),
        ],
        columns: &["Parsers", "Hits", "Parsed", "Unparsed"],
        fields: &["hits", "parsed", "unparsed"],
        ..BLANK
    },
    Section {
        name: "scenarios",
        title: "Scenario Metrics",
        description: "Buckets of each scenario: how many there are, were made, overflowed and expired",
        group: "engine",
        counts: &[
            count("cs_buckets", &[Label("name")], "curr_count"),
            count("cs_bucket_overflowed_total", &[Label("name")], "overflow"),
            count("cs_bucket_instantiation_total", &[Label("name")], "instantiation"),
            count("cs_bucket_poured_total", &[Label("name")], "pour"),
            count("cs_bucket_underflowed_total", &[Label("name")], "underflow"),
        ],
        columns: &["Scenario", "Current Count", "Overflows", "Instantiated", "Poured", "Expired"],
        fields: &["curr_count", "overflow", "instantiation", "pour", "underflow"],
        ..BLANK
    },
    Section {
        name: "stash",
        title: "Parser Stash Metrics",
        description: "What parsers keep for later lines",
        group: "engine",
        counts: &[count("cs_cache_size", &[Label("name"), Label("type")], "count")],
        columns: &["Name", "Type", "Items"],
        fields: &["type", "count"],
        ..BLANK
    },
    Section {
        name: "whitelists",
        title: "Whitelist Metrics",
        description: "Lines that each whitelist was asked about, and took out",
        group: "engine",
        counts: &[
            count("cs_node_wl_hits_total", &[Label("name"), Label("reason")], "hits"),
            count("cs_node_wl_hits_ok_total", &[Label("name"), Label("reason")], "whitelisted"),
        ],
        columns: &["Whitelist", "Reason", "Hits", "Whitelisted"],
        keys: 2,
        fields: &["hits", "whitelisted"],
        ..BLANK
    },
];

impl Metric {
    fn is(&self, name: &str) -> bool {
        match self {
            Named(wanted) => *wanted == name,
            Between(start, end) => name.starts_with(start) && name.ends_with(end),
        }
    }
}

impl Key {
    fn of(&self, sample: &Sample) -> String {
        match self {
            Label(label) => sample.label(label).to_owned(),
            Source => source(sample),
        }
    }
}

/// The source of a line, with its kind before it.
fn source(sample: &Sample) -> String {
    let named = sample.name.strip_prefix("cs_").and_then(|name| name.strip_suffix("source_hits_total"));
    let kind = [sample.label("datasource_type"), sample.label("type"), named.unwrap_or_default()];
    let kind = kind.into_iter().find(|kind| !kind.is_empty()).unwrap_or_default();
    let names = ["source", "path", "topic", "bucket", "stream"];
    let name =
        names.into_iter().map(|label| sample.label(label)).find(|name| !name.is_empty()).unwrap_or_default();
    match name.strip_prefix(kind) {
        Some(rest) if rest.starts_with(':') => name.to_owned(),
        _ if kind.is_empty() => name.to_owned(),
        _ => format!("{kind}:{name}"),
    }
}

/// A number as JSON, whole where it is.
pub(super) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { Value::from(value as i64) } else { Value::from(value) }
}

fn add(place: &mut Value, value: f64) {
    *place = number(place.as_f64().unwrap_or(0.0) + value);
}

impl Section {
    /// What these samples count in this section, as nested maps.
    pub(super) fn collect(&self, samples: &[Sample]) -> Value {
        let mut all = Value::Object(Map::new());
        for sample in samples.iter().filter(|sample| sample.value.is_finite()) {
            for count in self.counts.iter().filter(|count| count.metric.is(&sample.name)) {
                let mut place = &mut all;
                for key in count.path.iter().take(self.keys) {
                    place = entry(place, &key.of(sample));
                }
                if count.field.is_empty() {
                    add(place, sample.value);
                    continue;
                }
                // All fields of a record are there, in their order.
                for field in self.fields {
                    let is_text = *field == "type";
                    let value = entry(place, field);
                    if value.is_null() {
                        *value = if is_text { Value::from(sample.label("type")) } else { Value::from(0) };
                    }
                }
                add(entry(place, count.field), sample.value);
            }
        }
        sorted(all)
    }

    /// Its tables for people.
    pub(super) fn tables(&self, value: &Value, format: &impl Fn(f64) -> String) -> Vec<Table> {
        if self.is_split {
            let Some(parts) = value.as_object() else { return Vec::new() };
            let split = parts.iter().map(|(name, part)| {
                let mut table = self.table(format!("{} ({name}):", self.title));
                self.rows(part, self.keys - 1, &mut Vec::new(), &mut table, format);
                table
            });
            return split.collect();
        }
        let mut table = self.table(format!("{}:", self.title));
        self.rows(value, self.keys, &mut Vec::new(), &mut table, format);
        vec![table]
    }

    fn table(&self, title: String) -> Table {
        let keys = if self.is_split { self.keys - 1 } else { self.keys };
        let is_text = |at: usize| at < keys || self.fields.get(at - keys) == Some(&"type");
        let align = (0..self.columns.len()).map(|at| if is_text(at) { Align::Left } else { Align::Right });
        Table::new(self.columns.iter().copied()).titled(title).aligned(align)
    }

    fn rows(
        &self,
        value: &Value,
        keys: usize,
        path: &mut Vec<String>,
        table: &mut Table,
        format: &impl Fn(f64) -> String,
    ) {
        if keys > 0 {
            // Parts of a parser without a name of their own are in its row already.
            let named =
                value.as_object().into_iter().flatten().filter(|(name, _)| !name.starts_with("child-"));
            for (name, inner) in named {
                path.push(name.clone());
                self.rows(inner, keys - 1, path, table, format);
                path.pop();
            }
            return;
        }
        let shown = |value: &Value| {
            value.as_str().map_or_else(|| format(value.as_f64().unwrap_or(0.0)), str::to_owned)
        };
        let mut row = path.clone();
        if self.fields.is_empty() {
            row.push(shown(value));
        } else {
            row.extend(self.fields.iter().map(|field| shown(&value[*field])));
        }
        table.row(row);
    }
}

/// A member of a map, made when it is missing.
fn entry<'v>(value: &'v mut Value, key: &str) -> &'v mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    &mut value[key]
}

/// The same with names in order; records keep the order of their fields.
fn sorted(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    let is_record = map.values().any(|inner| !inner.is_object());
    let mut items: Vec<(String, Value)> =
        map.into_iter().map(|(name, inner)| (name, sorted(inner))).collect();
    if !is_record {
        items.sort_by(|one, other| one.0.cmp(&other.0));
    }
    Value::Object(items.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prometheus::samples;

    const PAGE: &str = r#"
cs_filesource_hits_total{acquis_type="syslog",datasource_type="file",source="/var/log/auth.log"} 10
cs_parser_hits_ok_total{acquis_type="syslog",source="/var/log/auth.log",type="file"} 7
cs_parser_hits_ko_total{acquis_type="syslog",source="file:/var/log/auth.log",type="file"} 3
cs_bucket_poured_total{name="b/two",source="/var/log/auth.log",type="file"} 4
cs_bucket_poured_total{name="a/one",source="/var/log/auth.log",type="file"} 1
cs_buckets{name="a/one"} 1
cs_alerts{reason="a/one"} 2
cs_active_decisions{action="ban",origin="crowdsec",reason="a/one"} 1
cs_active_decisions{action="captcha",origin="crowdsec",reason="a/one"} 1500
cs_lapi_decisions_ok_total{bouncer="fw"} 5
cs_cache_size{name="seen",type="LRU"} 8
cs_appsec_rule_hits{appsec_engine="e",rule_name="r",source="s",type="inband"} 2
"#;

    fn section(name: &str) -> &'static Section {
        SECTIONS.iter().find(|section| section.name == name).expect(name)
    }

    #[test]
    fn what_is_counted() {
        let samples = samples(PAGE);
        for (name, expected) in [
            (
                "acquisition",
                json!({"file:/var/log/auth.log": {"reads": 10, "parsed": 7, "unparsed": 3, "pour": 5, "whitelisted": 0}}),
            ),
            ("alerts", json!({"a/one": 2})),
            ("decisions", json!({"a/one": {"crowdsec": {"ban": 1, "captcha": 1500}}})),
            ("lapi-decisions", json!({"fw": {"Empty": 0, "NonEmpty": 5}})),
            ("stash", json!({"seen": {"type": "LRU", "count": 8}})),
            ("appsec-rule", json!({"e": {"r": {"triggered": 2}}})),
            ("whitelists", json!({})),
        ] {
            assert_eq!(section(name).collect(&samples), expected, "{name}");
        }
        let scenarios = section("scenarios").collect(&samples);
        let names: Vec<&String> = scenarios.as_object().expect("a map").keys().collect();
        assert_eq!(names, ["a/one", "b/two"]);
        assert_eq!(scenarios["a/one"]["curr_count"], json!(1));
    }

    #[test]
    fn tables() {
        let samples = samples(PAGE);
        let shown = |name: &str| {
            let section = section(name);
            let tables = section.tables(&section.collect(&samples), &|number| format!("{number}"));
            tables.iter().map(|table| table.render(false)).collect::<String>()
        };
        assert_eq!(
            shown("decisions"),
            "\
Local API Decisions:
+--------+----------+---------+-------+
| Reason | Origin   | Action  | Count |
+--------+----------+---------+-------+
| a/one  | crowdsec | ban     |     1 |
| a/one  | crowdsec | captcha |  1500 |
+--------+----------+---------+-------+
"
        );
        assert_eq!(
            shown("appsec-rule"),
            "\
Appsec Rule Metrics (e):
+---------+-----------+
| Rule ID | Triggered |
+---------+-----------+
| r       |         2 |
+---------+-----------+
"
        );
        assert!(shown("stash").contains("| seen | LRU  |     8 |"), "{}", shown("stash"));
    }
}
