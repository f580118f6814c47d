//! Bodies that are made page by page: the memory that they take does not depend on their length.

use std::sync::Arc;

use bytes::Bytes;
use testudo_store::{Cursor, Filter, LabelTexts, Page, Side, Stream, View};
use testudo_wire::snapshot::{Kind, SnapshotWriter};
use testudo_wire::{decision, stream as wire};

use crate::rendered::{Rows, Sharer};
use crate::service::Service;

/// Rows of the index that are looked at for one page: writers wait no longer than for these.
const PAGE_ROWS: usize = 2000;

/// Entries of a block of a snapshot: the more, the closer its addresses lie together.
const SNAPSHOT_ROWS: usize = 32_768;

/// Makes a body, one page after the other.
pub(crate) trait Pages: Send {
    /// The next page, never empty; `None` when there is nothing more.
    fn next_page(&mut self) -> Option<Bytes>;
}

impl Pages for Option<Bytes> {
    fn next_page(&mut self) -> Option<Bytes> {
        self.take()
    }
}

fn append(out: &mut Vec<u8>, view: View<'_>, left_ms: i64, uuid: u128, value: &mut String) {
    value.clear();
    view.push_value(value);
    let seconds = decision::round_to_seconds(left_ms);
    decision::append_decision(out, seconds, view.id(), view.prepared(), uuid, value);
}

/// The body of the decision stream.
pub(crate) struct StreamPages {
    service: Arc<Service>,
    stream: Stream,
    /// What is shared with others who start at the same time.
    shared: Option<Sharer>,
    /// Whose position it moves once all was taken.
    bouncer: String,
    begun_ms: i64,
    rows: usize,
    state: StreamState,
}

struct StreamState {
    side: Side,
    is_open: bool,
    is_first: bool,
    is_closed: bool,
}

impl StreamPages {
    pub(crate) fn new(service: Arc<Service>, stream: Stream, bouncer: String, begun_ms: i64) -> Self {
        let state = StreamState { side: Side::New, is_open: false, is_first: true, is_closed: false };
        StreamPages { service, stream, shared: None, bouncer, begun_ms, rows: PAGE_ROWS, state }
    }

    /// As a start, with pages of what is new that others who start may take, too.
    pub(crate) fn sharing(self, shared: Option<Sharer>) -> Self {
        StreamPages { shared, ..self }
    }

    /// With other pages than those of [`PAGE_ROWS`].
    #[cfg(test)]
    pub(crate) fn with_rows(self, rows: usize) -> Self {
        StreamPages { rows, ..self }
    }

    /// The next page of what is new that all who start have in common. `None` after the last.
    fn shared_page(&mut self) -> Option<Bytes> {
        let (shared, place) = (self.shared.as_ref()?, self.stream.next_new()?);
        let (service, stream, rows) = (&self.service, &mut self.stream, self.rows);
        let page = shared.page(place, || new_rows(service, stream, rows));
        self.stream.skip_new(page.next);
        if page.next.is_none() {
            self.shared = None;
        }
        if page.bytes.is_empty() {
            return None;
        }
        let comma = usize::from(std::mem::take(&mut self.state.is_first));
        Some(page.bytes.slice(comma..))
    }

    /// The client has it all: its next poll goes on from here.
    fn finish(&self) {
        let cursor = self.stream.cursor();
        self.service.store().bouncers().touch(&self.bouncer, |bouncer| {
            bouncer.stream = Some(cursor);
            bouncer.last_pull_ms = Some(self.begun_ms);
        });
    }
}

/// The next page of what is new that has anything in it, or an empty one at its end.
fn new_rows(service: &Service, stream: &mut Stream, rows: usize) -> Rows {
    let (mut out, mut value) = (Vec::new(), String::new());
    while out.is_empty() && stream.next_new().is_some() {
        service.store().index_as_it_is().page_of_new(stream, rows, |view, left_ms| {
            out.push(wire::COMMA);
            append(&mut out, view, left_ms, view.uuid(), &mut value);
        });
    }
    // What was reserved and not needed would be kept with it.
    out.shrink_to_fit();
    Rows { bytes: out.into(), next: stream.next_new() }
}

impl Pages for StreamPages {
    fn next_page(&mut self) -> Option<Bytes> {
        if self.state.is_closed {
            self.finish();
            return None;
        }
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.state.is_open, true) {
            out.extend_from_slice(wire::OPEN);
            if self.shared.is_some() {
                return Some(out.into());
            }
        }
        if let Some(page) = self.shared_page() {
            return Some(page);
        }
        out.reserve(8 * 1024);
        let mut value = String::new();
        let state = &mut self.state;
        while out.is_empty() || !self.stream.is_done() {
            let index = self.service.store().index_as_it_is();
            index.page(&mut self.stream, self.rows, |side, view, left_ms| {
                if side != state.side {
                    state.side = side;
                    state.is_first = true;
                    out.extend_from_slice(wire::MIDDLE);
                }
                if !std::mem::take(&mut state.is_first) {
                    out.push(wire::COMMA);
                }
                append(&mut out, view, left_ms, view.uuid(), &mut value);
            });
            drop(index);
            if self.stream.is_done() || !out.is_empty() {
                break;
            }
        }
        if self.stream.is_done() {
            if self.state.side == Side::New {
                out.extend_from_slice(wire::MIDDLE);
            }
            out.extend_from_slice(wire::CLOSE);
            self.state.is_closed = true;
        }
        Some(out.into())
    }
}

/// The body of a list of decisions.
pub(crate) struct ListPages {
    service: Arc<Service>,
    filter: Filter,
    page: Page,
    /// How many are still wanted.
    left: usize,
    has_begun: bool,
    is_over: bool,
}

impl ListPages {
    pub(crate) fn new(service: Arc<Service>, filter: Filter, page: Page) -> Self {
        let left = page.limit;
        ListPages { service, filter, page, left, has_begun: false, is_over: false }
    }

    /// Whether the last page has been made.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Pages for ListPages {
    fn next_page(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let mut out = Vec::new();
        let mut value = String::new();
        let mut found = 0;
        let limit = self.left.min(PAGE_ROWS);
        let index = self.service.store().index_as_it_is();
        let now_ms = index.now().at;
        let page = Page { limit, ..self.page };
        let (next, begun) = (&mut self.page, &mut self.has_begun);
        index.query(&self.filter, page, |view| {
            out.push(if std::mem::replace(begun, true) { wire::COMMA } else { b'[' });
            append(&mut out, view, view.end_ms() - now_ms, 0, &mut value);
            next.id_gt = view.id();
            found += 1;
        });
        drop(index);
        self.page.offset = 0;
        self.left -= found;
        if found < limit || self.left == 0 {
            self.is_over = true;
            if self.has_begun {
                out.push(b']');
            }
        }
        Some(out.into()).filter(|bytes: &Bytes| !bytes.is_empty())
    }
}

impl<P: Pages> Pages for (Option<Bytes>, P) {
    /// A page that was made beforehand, then the others.
    fn next_page(&mut self) -> Option<Bytes> {
        self.0.take().or_else(|| self.1.next_page())
    }
}

/// The body of a snapshot. What it holds in memory is one block.
pub(crate) struct SnapshotPages {
    service: Arc<Service>,
    stream: Stream,
    writer: Option<SnapshotWriter>,
}

impl SnapshotPages {
    pub(crate) fn new(service: Arc<Service>, stream: Stream) -> SnapshotPages {
        let Cursor { seq, at } = stream.cursor();
        SnapshotPages { service, stream, writer: Some(SnapshotWriter::new(seq, at)) }
    }
}

impl Pages for SnapshotPages {
    fn next_page(&mut self) -> Option<Bytes> {
        let writer = self.writer.as_mut()?;
        let moment_ms = self.stream.cursor().at;
        let mut value = String::new();
        while !self.stream.is_done() && writer.pending() < SNAPSHOT_ROWS {
            let index = self.service.store().index_as_it_is();
            index.page(&mut self.stream, PAGE_ROWS, |side, view, left_ms| {
                if side == Side::Deleted {
                    return;
                }
                let LabelTexts { scope, kind, origin, scenario, .. } = view.label();
                value.clear();
                view.push_value(&mut value);
                writer.add(Kind { scope, kind, origin, scenario }, &value, moment_ms.saturating_add(left_ms));
            });
        }
        if !self.stream.is_done() {
            return Some(writer.block().into());
        }
        self.writer.take().map(|writer| writer.finish().into())
    }
}

/// The next piece of a delta that tells anything: a whole JSON object, for which at most `rows` rows are
/// looked at. `None` when there was nothing among them.
pub(crate) fn delta_piece(service: &Service, stream: &mut Stream, rows: usize) -> Option<Vec<u8>> {
    let (mut new, mut deleted) = (Vec::new(), Vec::new());
    let mut value = String::new();
    service.store().index_as_it_is().page(stream, rows, |side, view, left_ms| {
        let out = if side == Side::New { &mut new } else { &mut deleted };
        if !out.is_empty() {
            out.push(wire::COMMA);
        }
        append(out, view, left_ms, view.uuid(), &mut value);
    });
    let is_empty = new.is_empty() && deleted.is_empty();
    (!is_empty).then(|| [wire::OPEN, &new, wire::MIDDLE, &deleted, wire::CLOSE].concat())
}
