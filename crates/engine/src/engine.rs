//! A compiled set of rules.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;

use testudo_event::{Layout, YearClock};
use testudo_expr::Slot;
use testudo_pattern::Library;
use testudo_rules::{Diagnostic, Severity, plan, set::RuleSet};

use crate::{
    codes,
    detect::{self, Scenarios},
    keys::{Keys, Space},
    parse::{self, Context, Stages, WellKnown},
    world::{DataSource, World},
};

/// How a set is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether patterns capture fields that no rule reads: for traces and tests.
    pub capture_all: bool,
    /// How a date without a year gets one.
    pub years: YearClock,
    /// Bytes that all buckets together may take.
    pub bucket_bytes: usize,
    /// Leading bits of an IPv6 address that count where it is the key of a bucket: a host has a whole
    /// network of them at hand. 128: all.
    pub v6_key_bits: u8,
}

impl Options {
    /// The usual ones, with this rule for dates without a year.
    pub fn new(years: YearClock) -> Options {
        Options {
            capture_all: false,
            years,
            bucket_bytes: detect::DEFAULT_BUCKET_BYTES,
            v6_key_bits: detect::DEFAULT_V6_KEY_BITS,
        }
    }
}

/// A compiled set of rules. Never changes after it was made; shared by all threads.
#[derive(Debug)]
pub struct Engine {
    pub(crate) keys: Keys,
    pub(crate) world: World,
    pub(crate) parsers: Stages,
    pub(crate) postoverflows: Stages,
    pub(crate) scenarios: Scenarios,
    pub(crate) known: WellKnown,
    pub(crate) layouts: HashMap<Box<str>, Layout>,
    pub(crate) options: Options,
    pub(crate) shows_stage: bool,
    /// The nodes that are counted, by number: parsers' first.
    pub(crate) nodes: Vec<NodeName>,
}

/// A node as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeName {
    pub(crate) name: Arc<str>,
    pub(crate) stage: Arc<str>,
    /// The reason of its whitelist.
    pub(crate) reason: Option<Arc<str>>,
}

impl Engine {
    /// Compiles a set. What cannot be used is told, and left out; the rest works without it.
    pub fn new(rules: &RuleSet, data: &dyn DataSource, options: Options) -> (Engine, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let (world, missing) = World::load(data_files(rules), data);
        for missing in missing {
            let reason =
                missing.error.map_or_else(|| "it is not there".to_owned(), |error| error.to_string());
            diagnostics.push(Diagnostic {
                code: codes::DATA_FILE,
                severity: Severity::Warning,
                message: format!("the data file `{}` reads as empty: {reason}", missing.file.dest_file),
                place: missing.file.place,
                hint: Some("give the folder that holds it with --data".to_owned()),
            });
        }
        let mut keys = Keys::new();
        let known = WellKnown::new(&mut keys);
        let mut layouts = Vec::new();
        // An installation's definitions may be in any order; the standard ones stay as they are.
        let mut library = Library::standard();
        let mut open: Vec<&(String, String)> = rules.patterns.iter().collect();
        loop {
            let before = open.len();
            open.retain(|(name, body)| library.define(name, body).is_err());
            if open.len() == before {
                break;
            }
        }
        // Parsers share one pattern library, postoverflows another.
        let mut compile = |parsers: &[plan::Parser], overflow: bool, keys: &mut Keys| {
            let mut context = Context {
                keys,
                world: &world,
                library: library.clone(),
                overflow,
                diagnostics: &mut diagnostics,
                layouts: &mut layouts,
            };
            parse::compile_stages(parsers, &mut context)
        };
        let parsers = compile(&rules.parsers, false, &mut keys);
        let postoverflows = compile(&rules.postoverflows, true, &mut keys);
        let mut scenarios =
            detect::compile(&rules.scenarios, &rules.context, &rules.origins, &mut keys, &world);
        scenarios.v6_key_bits = options.v6_key_bits;
        let mut open = parse::Open::default();
        let mut finish = |pending, keys: &mut Keys| {
            parse::finish_groks(pending, keys, options.capture_all, &mut open, &mut diagnostics)
        };
        let mut parsers = finish(parsers, &mut keys);
        let mut postoverflows = finish(postoverflows, &mut keys);
        let nodes = numbered(&mut parsers, &mut postoverflows);
        keys.seal();
        // Alerts carry all of Meta, and what the enrichers tell of an address.
        scenarios.kept.spaces[Space::Meta as usize] = true;
        scenarios.kept.slots.resize(keys.len(), false);
        for slot in known.of_sources() {
            scenarios.kept.slots[slot.0 as usize] = true;
        }
        scenarios.kept.seal(&keys);
        let shows_stage = options.capture_all || keys.stage_is_read();
        let layouts = layouts.into_iter().map(|text| (text.clone(), Layout::new(&text))).collect();
        let engine = Engine {
            keys,
            world,
            parsers,
            postoverflows,
            scenarios,
            known,
            layouts,
            options,
            shows_stage,
            nodes,
        };
        (engine, diagnostics)
    }

    /// The names that the rules use.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether some rule asks who is listed: without [`World::set_listed`] nobody is.
    pub fn asks_lists(&self) -> bool {
        self.keys.lists_are_asked()
    }

    /// The world behind helpers; databases and name look-ups can be set before lines run.
    pub fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// Names of the stages that have a node, parsers' first.
    pub fn stages(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
        let all = self.parsers.stages.iter().chain(&self.postoverflows.stages);
        all.map(|stage| (&*stage.name, stage.nodes.iter().map(|node| &*node.name)))
    }

    /// The types of lines that parsers ask for: texts compared with `evt.Line.Labels.type` and, where
    /// a log is no syslog, `evt.Parsed.program`. Sorted.
    pub fn line_types(&self) -> BTreeSet<String> {
        let slots = [(Space::Labels, "type"), (Space::Parsed, "program")];
        let slots: Vec<Slot> =
            slots.iter().filter_map(|(space, key)| self.keys.lookup(*space, key)).collect();
        self.parsers
            .stages
            .iter()
            .flat_map(|stage| slots.iter().flat_map(|slot| stage.dispatch.constants(*slot)))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// How many parser documents and scenarios run.
    pub fn counts(&self) -> (usize, usize) {
        (self.parsers.stages.iter().map(|stage| stage.nodes.len()).sum(), self.scenarios.all.len())
    }

    pub(crate) fn parser(&self, postoverflow: bool, ordered: bool, years: YearClock) -> parse::Parser<'_> {
        parse::Parser {
            stages: if postoverflow { &self.postoverflows } else { &self.parsers },
            keys: &self.keys,
            world: &self.world,
            known: &self.known,
            layouts: &self.layouts,
            years,
            ordered,
            may_wait: postoverflow,
            shows_stage: self.shows_stage,
        }
    }
}

/// Gives each node that has a name its number.
fn numbered(parsers: &mut Stages, postoverflows: &mut Stages) -> Vec<NodeName> {
    let mut names = Vec::new();
    for stage in parsers.stages.iter_mut().chain(&mut postoverflows.stages) {
        let mut number = |node: &parse::Node| {
            let reason = node.whitelist.as_ref().map(|list| list.reason.clone());
            names.push(NodeName { name: node.name.clone(), stage: stage.name.clone(), reason });
            names.len() as u32 - 1
        };
        stage.nodes.iter_mut().for_each(|node| node.number(&mut number));
    }
    names
}

fn data_files(rules: &RuleSet) -> Vec<&plan::DataFile> {
    fn of_node<'n>(node: &'n plan::ParserNode, into: &mut Vec<&'n plan::DataFile>) {
        into.extend(&node.data);
        for child in &node.nodes {
            of_node(child, into);
        }
    }
    let mut files = Vec::new();
    for parser in rules.parsers.iter().chain(&rules.postoverflows) {
        of_node(&parser.node, &mut files);
    }
    for scenario in &rules.scenarios {
        files.extend(&scenario.data);
    }
    files
}

impl WellKnown {
    pub(crate) fn new(keys: &mut Keys) -> WellKnown {
        WellKnown {
            source_ip: keys.intern_read(Space::Meta, "source_ip"),
            source_range: keys.intern_read(Space::Meta, "SourceRange"),
            iso_code: keys.intern_read(Space::Enriched, "IsoCode"),
            in_eu: keys.intern(Space::Enriched, "IsInEU"),
            latitude: keys.intern_read(Space::Enriched, "Latitude"),
            longitude: keys.intern_read(Space::Enriched, "Longitude"),
            asn_number: keys.intern_read(Space::Enriched, "ASNNumber"),
            as_number: keys.intern_read(Space::Enriched, "ASNumber"),
            asn_org: keys.intern_read(Space::Enriched, "ASNOrg"),
            range: keys.intern(Space::Enriched, "SourceRange"),
            reverse_dns: keys.intern(Space::Enriched, "reverse_dns"),
            marshaled_time: keys.intern(Space::Enriched, "MarshaledTime"),
        }
    }

    /// What an alert's source is made of.
    pub(crate) fn of_sources(&self) -> [Slot; 8] {
        [
            self.source_ip,
            self.source_range,
            self.iso_code,
            self.latitude,
            self.longitude,
            self.asn_number,
            self.as_number,
            self.asn_org,
        ]
    }
}
