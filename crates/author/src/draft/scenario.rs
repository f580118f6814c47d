//! The text of a scenario over the events of a parser, and its samples.

use std::fmt::Write as _;

use super::{Names, parser::expression_text};

/// What the scenario looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Many failed log-ins of one source.
    Bruteforce,
    /// One source that tries many names.
    Enumeration,
    /// Many events of one source.
    Scan,
}

impl Sort {
    /// What is appended to the name of the parser.
    pub fn suffix(self) -> &'static str {
        match self {
            Sort::Bruteforce => "bruteforce",
            Sort::Enumeration => "user-enumeration",
            Sort::Scan => "scan",
        }
    }
}

/// A scenario over events of a log type.
pub fn scenario(names: &Names, log_type: &str, sort: Sort) -> String {
    let (rule, service, suffix) = (&names.rule, &names.service, sort.suffix());
    let (what, behaviour, technique) = match sort {
        Sort::Bruteforce => ("Many failed log-ins in a short time", "bruteforce", "attack.T1110"),
        Sort::Enumeration => ("Failed log-ins under many different names", "bruteforce", "attack.T1589"),
        Sort::Scan => ("Many events of one source in a short time", "scan", "attack.T1595"),
    };
    let mut out = format!(
        "# Drafted by `testudo rule new`. How many events, in which time, does an honest user cause who has forgotten a password?\n\
         # `testudo rule backtest` counts sources that also succeeded.\n\
         type: leaky\nname: {rule}-{suffix}\ndescription: \"{service}: {}\"\n",
        what.to_lowercase()
    );
    let mut filter = format!("evt.Meta.log_type == {}", expression_text(log_type));
    if sort == Sort::Enumeration {
        filter.push_str(" && evt.Meta.username != ''");
    }
    let _ = write!(out, "filter: {filter}\ngroupby: evt.Meta.source_ip\n");
    out.push_str(match sort {
        Sort::Bruteforce => "capacity: 8\nleakspeed: 20s\n",
        Sort::Enumeration => "distinct: evt.Meta.username\ncapacity: 5\nleakspeed: 60s\n",
        Sort::Scan => "capacity: 20\nleakspeed: 5s\n",
    });
    let _ = write!(
        out,
        "blackhole: 5m\nlabels:\n  service: {service}\n  behavior: \"{service}:{behaviour}\"\n  label: \"{service}: {what}\"\n  \
         classification: [{technique}]\n  confidence: 3\n  spoofable: 0\n  remediation: true\n"
    );
    out
}
