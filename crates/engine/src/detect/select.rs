//! Which scenarios an event reaches, and with which key: the last thing that runs in the order of
//! the files, and the last that may write the event. After it the event is frozen.

use std::{net::IpAddr, ops::Range, sync::Arc};

use testudo_event::{Prefix, net};
use testudo_expr::{Slot, program::Program};

use super::Scenarios;
use crate::{
    counters::Counters,
    dispatch::BitSet,
    host::RecordHost,
    keys::Keys,
    parse::{Observer, WellKnown},
    record::{EventKind, Record, Span},
    snapshot::{Desk, Snapshot},
    stash::Notes,
    world::World,
};

/// Leading bits of an IPv6 address that count in a bucket's key: the network that providers hand out.
pub(crate) const DEFAULT_V6_KEY_BITS: u8 = 64;

/// What a scenario's scope expression gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeText {
    /// The scenario has no such expression.
    None,
    /// It failed.
    Failed,
    /// Its text, `""` where it gave no text.
    Text(Piece),
}

/// A piece of the text of [`Pours`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    start: u32,
    end: u32,
}

/// One event for one scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pour {
    pub(crate) scenario: u32,
    pub(crate) group: Piece,
    /// `None`: no `distinct`, or it failed, which counts as a new value.
    pub(crate) distinct: Option<Piece>,
    pub(crate) cancel: bool,
    pub(crate) scope: ScopeText,
}

/// What the events of a batch are poured into, one after the other: memory that is taken once for all of them.
#[derive(Debug, Default)]
pub(crate) struct Pours {
    list: Vec<Pour>,
    text: String,
    /// What the lines of the batch store.
    pub(crate) notes: Notes,
}

/// An event after the freeze, and which of the [`Pours`] are its.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) event: Arc<Snapshot>,
    address: Option<IpAddr>,
    pours: Range<usize>,
}

/// An event after the freeze, with everything that its buckets need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frozen<'f> {
    pub(crate) event: &'f Arc<Snapshot>,
    /// The address in `Meta.source_ip`.
    pub(crate) address: Option<IpAddr>,
    pub(crate) pours: &'f [Pour],
    text: &'f str,
}

impl Pours {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
    }

    /// How much there is of it.
    pub(crate) fn mark(&self) -> (usize, usize) {
        (self.list.len(), self.text.len())
    }

    /// Forgets what came after a mark.
    pub(crate) fn rewind(&mut self, (list, text): (usize, usize)) {
        self.list.truncate(list);
        self.text.truncate(text);
    }

    pub(crate) fn of<'f>(&'f self, held: &'f Held) -> Frozen<'f> {
        let pours = self.list.get(held.pours.clone()).unwrap_or_default();
        Frozen { event: &held.event, address: held.address, pours, text: &self.text }
    }
}

impl<'f> Frozen<'f> {
    pub(crate) fn piece(&self, piece: Piece) -> &'f str {
        self.text.get(piece.start as usize..piece.end as usize).unwrap_or("")
    }
}

/// Working memory of the selection.
#[derive(Debug, Default)]
pub(crate) struct Selector {
    candidates: BitSet,
    spare: BitSet,
    guards: Vec<Span>,
    desk: Desk,
}

impl Selector {
    /// Runs the filters and keys of all scenarios that the event can reach, and freezes it; what it is to be
    /// poured into is added to `pours`. `None`: no scenario wants it.
    #[expect(clippy::too_many_arguments, reason = "the parts of an engine, borrowed apart")]
    pub(crate) fn select<O: Observer>(
        &mut self,
        scenarios: &Scenarios,
        record: &mut Record,
        keys: &Keys,
        world: &World,
        known: &WellKnown,
        ordered: bool,
        counters: &mut Counters,
        observer: &mut O,
        pours: &mut Pours,
    ) -> Option<Held> {
        let (first, start) = (pours.list.len(), pours.text.len());
        self.probe(scenarios, record);
        // Most scenarios have the same key, which is mostly the address: it is written down once.
        let mut last: Option<(Slot, Span, Piece)> = None;
        let mut next = 0;
        while let Some(at) = self.candidates.next(next) {
            next = at + 1;
            let scenario = &scenarios.all[at];
            let mut host = RecordHost { record, keys, world, ordered };
            let wanted = scenario.filter.test_after_guards(&mut host).unwrap_or_else(|_| {
                counters.failed_expressions += 1;
                false
            });
            let mut scope = ScopeText::None;
            let group = match &scenario.group_by {
                _ if !wanted => None,
                None => Some(Piece::default()),
                Some(program) if let Some(slot) = program.slot() => {
                    let span = host.record.span(slot);
                    match last {
                        Some((known, at, piece)) if (known, at) == (slot, span) => Some(piece),
                        _ => {
                            let piece = pours.push(host.record.slice(span));
                            let piece = pours.masked(piece, scenarios.v6_key_bits).unwrap_or(piece);
                            last = Some((slot, span, piece));
                            Some(piece)
                        }
                    }
                }
                Some(program) => match pours.keep(program, &mut host) {
                    Kept::Text(piece) => {
                        let masked = pours.masked(piece, scenarios.v6_key_bits);
                        if masked.is_none() && scenario.scope_is_group {
                            scope = ScopeText::Text(piece);
                        }
                        Some(masked.unwrap_or(piece))
                    }
                    Kept::Other | Kept::Failed => {
                        counters.failed_expressions += 1;
                        None
                    }
                },
            };
            if let Some(group) = group {
                counters.poured += 1;
                observer.poured(&scenario.plan.name);
                pours.list.push(Pour { scenario: at as u32, group, distinct: None, cancel: false, scope });
            }
            // An expression that writes, whatever came of it, may have changed what the index was asked with.
            if scenario.writes && self.guards_changed(scenarios, record, next) {
                self.probe(scenarios, record);
            }
        }
        if pours.list.len() == first {
            pours.text.truncate(start);
            return None;
        }
        // No filter is left that could write: from here on all look at the same event.
        let mut host = RecordHost { record, keys, world, ordered };
        for at in first..pours.list.len() {
            let scenario = &scenarios.all[pours.list[at].scenario as usize];
            let distinct =
                scenario.distinct.as_ref().and_then(|program| match pours.keep(program, &mut host) {
                    Kept::Text(piece) => Some(piece),
                    Kept::Other => Some(Piece::default()),
                    Kept::Failed => {
                        counters.failed_expressions += 1;
                        None
                    }
                });
            let cancel = scenario.cancel_on.as_ref().is_some_and(|p| p.test(&mut host).unwrap_or(false));
            let scope = match &scenario.scope {
                Some(program) if pours.list[at].scope == ScopeText::None => {
                    match pours.keep(program, &mut host) {
                        Kept::Text(piece) => ScopeText::Text(piece),
                        Kept::Other => ScopeText::Text(Piece::default()),
                        Kept::Failed => ScopeText::Failed,
                    }
                }
                _ => pours.list[at].scope,
            };
            pours.list[at] = Pour { distinct, cancel, scope, ..pours.list[at] };
        }
        // Contributors are those of lines; what is poured again has been counted.
        let address =
            if record.kind == EventKind::Log { net::parse_addr(record.text(known.source_ip)) } else { None };
        let event = Snapshot::take(record, keys, &scenarios.kept, &mut self.desk);
        Some(Held { event: Arc::new(event), address, pours: first..pours.list.len() })
    }

    fn probe(&mut self, scenarios: &Scenarios, record: &Record) {
        scenarios.dispatch.candidates(|slot| record.text(slot), &mut self.candidates, &mut self.spare);
        self.guards.clear();
        self.guards.extend(scenarios.guards.iter().map(|guard| record.span(guard.slot)));
    }

    /// Whether a value that the index was asked with is another one now, for scenarios from `next` on.
    fn guards_changed(&self, scenarios: &Scenarios, record: &Record, next: usize) -> bool {
        let mut guards = scenarios.guards.iter().zip(&self.guards);
        guards.any(|(guard, &span)| guard.concerns(next) && record.span(guard.slot) != span)
    }
}

impl Pours {
    /// The key of a bucket for this group, where it is another one: of an IPv6 address its network, of a
    /// mapped one the IPv4 address, so that nobody has as many keys as addresses.
    fn masked(&mut self, group: Piece, bits: u8) -> Option<Piece> {
        let text = &self.text[group.start as usize..];
        if !text.contains(':') {
            return None;
        }
        let Ok(address @ IpAddr::V6(_)) = text.parse() else { return None };
        let key = match net::canonical(address) {
            v4 @ IpAddr::V4(_) => v4,
            v6 @ IpAddr::V6(_) if bits < 128 => Prefix::covering(v6, bits).map_or(v6, Prefix::addr),
            IpAddr::V6(_) => return None,
        };
        self.text.truncate(group.start as usize);
        self.text.push_str(&key.to_string());
        Some(Piece { end: self.text.len() as u32, ..group })
    }

    fn push(&mut self, text: &str) -> Piece {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        Piece { start, end: self.text.len() as u32 }
    }

    fn keep(&mut self, program: &Program, host: &mut RecordHost<'_>) -> Kept {
        let start = self.text.len() as u32;
        match program.write(host, &mut self.text) {
            Ok(true) => Kept::Text(Piece { start, end: self.text.len() as u32 }),
            Ok(false) => Kept::Other,
            Err(_) => Kept::Failed,
        }
    }
}

enum Kept {
    Text(Piece),
    Other,
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_keys() {
        let check = |group: &str, bits: u8, expected: &str| {
            let mut pours = Pours { text: format!("before{group}"), ..Pours::default() };
            let piece = Piece { start: 6, end: pours.text.len() as u32 };
            let piece = pours.masked(piece, bits).unwrap_or(piece);
            assert_eq!(&pours.text[piece.start as usize..piece.end as usize], expected, "{group}");
            assert!(pours.text.starts_with("before"));
        };
        check("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::");
        check("2001:db8:1:2:3:4:5:6", 48, "2001:db8:1::");
        check("2001:DB8::1", 128, "2001:DB8::1");
        check("::ffff:192.0.2.1", 64, "192.0.2.1");
        check("::ffff:192.0.2.1", 128, "192.0.2.1");
        for other in ["192.0.2.1", "", "2001:db8::1/64", "user 2001:db8::1", "fe80::1%eth0", "a:b"] {
            check(other, 64, other);
        }
    }
}
