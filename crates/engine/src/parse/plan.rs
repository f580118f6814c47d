//! Parser plans of a whole set: stages in order, nodes with their slots, patterns that capture only
//! what somebody reads.

use std::{net::IpAddr, sync::Arc};

use testudo_event::net::Prefix;
use testudo_expr::{Slot, program::Program};
use testudo_pattern::Grok;
use testudo_rules::plan::{NodeLabel, OnSuccess, TextField};

use crate::{
    dispatch::{Decider, Dispatch, Scan},
    record::Span,
};

/// The stages of parsers or postoverflows.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    /// In order; only those that have a node.
    pub stages: Vec<Stage>,
}

/// One stage.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Its name.
    pub name: Arc<str>,
    /// Its top-level nodes, in order.
    pub nodes: Vec<Node>,
    /// Which of them an event can reach.
    pub dispatch: Dispatch,
    /// Slots that decide that.
    pub guards: Vec<Decider>,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// What messages call it.
    pub label: NodeLabel,
    /// Number under which it is counted; [`Node::UNCOUNTED`] for those without a name.
    pub(crate) id: u32,
    pub(crate) on_success: OnSuccess,
    pub(crate) filter: Option<Program>,
    pub(crate) whitelist: Option<Whitelist>,
    pub(crate) grok: Option<NodeGrok>,
    pub(crate) stash: Vec<Stash>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) hopeless: Option<Hopeless>,
    pub(crate) statics: Vec<Static>,
}

/// Children that are no more than a pattern over the same cell: one pass over it tells which of them cannot
/// match.
#[derive(Debug)]
pub(crate) struct Hopeless {
    pub(crate) slot: Slot,
    pub(crate) scan: Scan,
}

#[derive(Debug)]
pub(crate) struct Whitelist {
    pub(crate) reason: Arc<str>,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) cidrs: Vec<Prefix>,
    pub(crate) expressions: Vec<Program>,
    /// About each contributor of an overflow.
    pub(crate) contributors: Vec<Program>,
    /// Which of the expressions an event can meet; `None` where one of them writes.
    pub(crate) dispatch: Option<Dispatch>,
}

/// A pattern with the slots of its captures.
#[derive(Debug)]
pub(crate) struct NodeGrok {
    pub(crate) source: Source,
    pub(crate) grok: Grok,
    /// Number of its working memory in a [`Worker`](super::run::Worker).
    pub(crate) id: usize,
    /// One for each field of the pattern that is read.
    pub(crate) slots: Vec<Slot>,
    pub(crate) statics: Vec<Static>,
    /// The pattern as written, for traces.
    pub(crate) text: Arc<str>,
}

#[derive(Debug)]
pub(crate) enum Source {
    /// Always there.
    Line,
    /// The pattern fails where it is absent.
    Slot(Slot),
    Expression(Program),
}

#[derive(Debug)]
pub(crate) struct Stash {
    pub(crate) name: Arc<str>,
    pub(crate) key: Program,
    pub(crate) value: Program,
    pub(crate) ttl: i64,
}

#[derive(Debug)]
pub(crate) struct Static {
    pub(crate) target: Target,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Target {
    Slot(Slot),
    Unmarshaled(Arc<str>),
    Method(Method),
    Overflow(TextField),
    Stage,
    Nowhere,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// A text that every record begins with.
    Constant(Span),
    /// A plain copy of another cell.
    Slot(Slot),
    Program(Program),
}

/// Enrichers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    GeoIpCity,
    GeoIpAsn,
    IpToRange,
    ReverseDns,
    ParseDate,
    UnmarshalJson,
    Reputation,
    Unknown,
}

impl Node {
    /// The number of nodes that are not counted.
    pub(crate) const UNCOUNTED: u32 = u32::MAX;

    /// Gives numbers from `next` on to this node and those below it, as far as they have a name; `tell` is
    /// called with each, in order.
    pub(crate) fn number(&mut self, tell: &mut dyn FnMut(&Node) -> u32) {
        if !self.name.is_empty() {
            self.id = tell(self);
        }
        self.nodes.iter_mut().for_each(|node| node.number(tell));
    }

    /// Its pattern as written, and what compares it with lines; `None` where it has none.
    pub fn pattern(&self) -> Option<(&str, &Grok)> {
        self.grok.as_ref().map(|grok| (&*grok.text, &grok.grok))
    }

    /// Its children.
    pub fn children(&self) -> &[Node] {
        &self.nodes
    }
}

impl Method {
    pub(crate) fn named(name: &str) -> Method {
        match name {
            "GeoIpCity" => Method::GeoIpCity,
            "GeoIpASN" => Method::GeoIpAsn,
            "IpToRange" => Method::IpToRange,
            "reverse_dns" => Method::ReverseDns,
            "ParseDate" => Method::ParseDate,
            "UnmarshalJSON" => Method::UnmarshalJson,
            "Reputation" => Method::Reputation,
            _ => Method::Unknown,
        }
    }
}

/// Slots that the engine itself writes or reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WellKnown {
    pub(crate) source_ip: Slot,
    pub(crate) source_range: Slot,
    pub(crate) iso_code: Slot,
    pub(crate) in_eu: Slot,
    pub(crate) latitude: Slot,
    pub(crate) longitude: Slot,
    pub(crate) asn_number: Slot,
    pub(crate) as_number: Slot,
    pub(crate) asn_org: Slot,
    pub(crate) range: Slot,
    pub(crate) reverse_dns: Slot,
    pub(crate) marshaled_time: Slot,
}
