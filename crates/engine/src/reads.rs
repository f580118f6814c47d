//! Which parts of an event the rules of a set read: what nobody reads is not captured, and what is
//! read late is kept.

use testudo_expr::{
    Slot, Type, Value,
    core::{Binary, Kind, Node},
    functions,
};
use testudo_rules::schema;

use crate::{
    keys::{self, Keys, Space},
    snapshot::Kept,
};

/// Collects what expressions read.
pub(crate) struct Reads<'k> {
    keys: &'k mut Keys,
    event: u16,
    /// Parts read by the expressions given so far.
    pub(crate) kept: Kept,
}

impl<'k> Reads<'k> {
    /// Nothing read yet.
    pub(crate) fn new(keys: &'k mut Keys) -> Self {
        let event = match schema::EVENT.record("Event") {
            Some(Type::Record { index, .. }) => index,
            _ => u16::MAX,
        };
        Reads { keys, event, kept: Kept::default() }
    }

    /// Adds what an expression reads.
    pub(crate) fn add(&mut self, node: &Node) {
        match &node.kind {
            Kind::Index { of, key, .. } => {
                if let Some(space) = self.space(of) {
                    match &key.kind {
                        Kind::Const(Value::Str(key)) => self.read(space, key),
                        _ => {
                            self.whole(space);
                            self.add(key);
                        }
                    }
                    return self.below(of);
                }
            }
            Kind::Binary(Binary::In, key, of) => {
                if let (Some(space), Kind::Const(Value::Str(key))) = (self.space(of), &key.kind) {
                    self.read(space, key);
                    return self.below(of);
                }
            }
            Kind::Field { of, name, .. } if self.is_event(of) => {
                match (space_of(name), fixed(name)) {
                    (Some(space), _) => self.whole(space),
                    (None, Some(slot)) => self.keep(slot),
                    (None, None) if &**name == "Unmarshaled" => self.kept.unmarshaled = true,
                    (None, None) => {}
                }
                return self.container(of);
            }
            Kind::Field { of, name, .. } => {
                if let Kind::Field { of: event, name: line, .. } = &of.kind
                    && self.is_event(event)
                    && &**line == "Line"
                {
                    match &**name {
                        "Raw" => self.keep(keys::LINE_RAW),
                        "Src" => self.keep(keys::LINE_SRC),
                        "Module" => self.keep(keys::LINE_MODULE),
                        "Labels" => self.whole(Space::Labels),
                        _ => {}
                    }
                    return self.container(event);
                }
            }
            Kind::Method { of, arguments, .. } if self.is_event(of) => {
                arguments.iter().for_each(|a| self.add(a));
                return self.container(of);
            }
            Kind::Variable(_) | Kind::Element(_) if self.is_event(node) => self.everything(),
            Kind::Env => self.everything(),
            Kind::Call { function, .. } if functions::calls_lists(function) => self.keys.ask_lists(),
            _ => {}
        }
        node.for_each_child(&mut |child| self.add(child));
    }

    /// What leads to an event: reading a field of it reads no more than that field.
    fn container(&mut self, of: &Node) {
        if !matches!(of.kind, Kind::Variable(_) | Kind::Element(_)) {
            of.for_each_child(&mut |child| self.add(child));
        }
    }

    /// What leads to a text map of an event.
    fn below(&mut self, map: &Node) {
        match &map.kind {
            Kind::Field { of, name, .. } if &**name == "Labels" => {
                if let Kind::Field { of: event, .. } = &of.kind {
                    self.container(event);
                }
            }
            Kind::Field { of, .. } => self.container(of),
            _ => {}
        }
    }

    fn is_event(&self, node: &Node) -> bool {
        matches!(node.ty, Type::Record { index, .. } if index == self.event)
    }

    /// The text map that a node stands for.
    fn space(&self, node: &Node) -> Option<Space> {
        let Kind::Field { of, name, .. } = &node.kind else { return None };
        if self.is_event(of) {
            return space_of(name);
        }
        let Kind::Field { of: event, name: line, .. } = &of.kind else { return None };
        (self.is_event(event) && &**line == "Line" && &**name == "Labels").then_some(Space::Labels)
    }

    fn read(&mut self, space: Space, key: &str) {
        let slot = self.keys.intern_read(space, key);
        self.keep(slot);
    }

    fn whole(&mut self, space: Space) {
        self.keys.read_whole(space);
        self.kept.spaces[space as usize] = true;
    }

    fn everything(&mut self) {
        for space in Space::ALL {
            self.whole(space);
        }
        self.kept.unmarshaled = true;
        for slot in 0..keys::FIXED {
            self.keep(Slot(slot));
        }
    }

    fn keep(&mut self, slot: Slot) {
        if slot == keys::STAGE {
            self.keys.read_stage();
        }
        let at = slot.0 as usize;
        if self.kept.slots.len() <= at {
            self.kept.slots.resize(at + 1, false);
        }
        self.kept.slots[at] = true;
    }
}

fn space_of(name: &str) -> Option<Space> {
    match name {
        "Parsed" => Some(Space::Parsed),
        "Meta" => Some(Space::Meta),
        "Enriched" => Some(Space::Enriched),
        _ => None,
    }
}

/// The slot of a text field of the event.
pub(crate) fn fixed(name: &str) -> Option<Slot> {
    match name {
        "StrTime" => Some(keys::STR_TIME),
        "StrTimeFormat" => Some(keys::STR_TIME_FORMAT),
        "MarshaledTime" => Some(keys::MARSHALED_TIME),
        "WhitelistReason" => Some(keys::WHITELIST_REASON),
        "Stage" => Some(keys::STAGE),
        _ => None,
    }
}

/// Gives slots to text cells of `evt`, which every rule schema has as its first variable.
pub(crate) struct EventResolver<'k> {
    pub(crate) keys: &'k mut Keys,
    /// Whether `evt.Overflow` is there in every event: after an overflow, before it is poured again.
    pub(crate) overflow: bool,
}

impl testudo_expr::program::Resolver for EventResolver<'_> {
    fn slot(&mut self, variable: u16, path: &[&str]) -> Option<Slot> {
        if variable != 0 {
            return None;
        }
        match path {
            ["Line", "Raw"] => Some(keys::LINE_RAW),
            ["Line", "Src"] => Some(keys::LINE_SRC),
            ["Line", "Module"] => Some(keys::LINE_MODULE),
            ["Line", "Labels", key] => Some(self.keys.intern(Space::Labels, key)),
            ["Overflow", "Alert", "Source", "IP"] if self.overflow => Some(keys::OVERFLOW_SOURCE_IP),
            [name] => fixed(name),
            ["GetType", "()"] => Some(keys::TYPE),
            [map, key] => Some(self.keys.intern(space_of(map)?, key)),
            _ => None,
        }
    }
}

/// Gives no slots: for expressions that run without an event, whose texts fail instead of being empty.
pub(crate) struct NoSlots;

impl testudo_expr::program::Resolver for NoSlots {
    fn slot(&mut self, _: u16, _: &[&str]) -> Option<Slot> {
        None
    }
}
