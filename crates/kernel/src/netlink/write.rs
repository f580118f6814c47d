//! Messages as they are sent.

use crate::netlink::number::flag;

/// The protocol family of tables that see IPv4 and IPv6.
pub(crate) const INET: u8 = 1;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NESTED: u16 = 0x8000;

/// Bytes that grow by headers and attributes. Lengths are written when what they count is complete.
#[derive(Debug, Default)]
pub(crate) struct Bytes(Vec<u8>);

impl Bytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Begins a message; [`Bytes::end_message`] completes it.
    pub(crate) fn begin_message(&mut self, message: Message, seq: u32) -> usize {
        self.begin_raw(
            SUBSYSTEM << 8 | u16::from(message.op),
            message.flags | flag::REQUEST,
            seq,
            message.family,
            0,
        )
    }

    fn begin_raw(&mut self, kind: u16, flags: u16, seq: u32, family: u8, resource: u16) -> usize {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(&flags.to_ne_bytes());
        self.0.extend_from_slice(&seq.to_ne_bytes());
        self.0.extend_from_slice(&[0; 4]);
        self.0.extend_from_slice(&[family, 0]);
        self.0.extend_from_slice(&resource.to_be_bytes());
        start
    }

    /// Completes the message that began here.
    pub(crate) fn end_message(&mut self, start: usize) {
        let length = (self.0.len() - start) as u32;
        self.0[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// An attribute of bytes, filled up to four.
    pub(crate) fn raw(&mut self, kind: u16, value: &[u8]) {
        self.0.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// An attribute of one byte.
    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.raw(kind, &[value]);
    }

    /// A number in the order of the network, as nearly all are.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// A number in the order of the network.
    pub(crate) fn u64(&mut self, kind: u16, value: u64) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// A text with the zero at its end.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let length = 4 + value.len() + 1;
        self.0.extend_from_slice(&(length as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.resize(self.0.len() + 1, 0);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// An attribute of attributes.
    pub(crate) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Bytes)) {
        let start = self.begin_nest(kind);
        inner(self);
        self.end_nest(start);
    }

    /// Begins an attribute of attributes; [`Bytes::end_nest`] completes it.
    pub(crate) fn begin_nest(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        start
    }

    /// Completes the attribute that began here.
    pub(crate) fn end_nest(&mut self, start: usize) {
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// The head of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) op: u8,
    pub(crate) family: u8,
    pub(crate) flags: u16,
}

impl Message {
    /// Makes something, or leaves it as it is if it is there.
    pub(crate) fn create(op: u8, family: u8) -> Message {
        Message { op, family, flags: flag::CREATE }
    }

    /// Asks or deletes.
    pub(crate) fn plain(op: u8, family: u8) -> Message {
        Message { op, family, flags: 0 }
    }
}

/// Messages that take effect together or not at all.
///
/// Only the first asks for an answer: the kernel gives it when the whole batch is done, and answers every message
/// that fails besides.
#[derive(Debug)]
pub(crate) struct Batch {
    head: Bytes,
    streams: Vec<Bytes>,
    first: u32,
    next: u32,
}

impl Batch {
    /// An empty batch whose messages are numbered from `first` on.
    pub(crate) fn new(first: u32) -> Batch {
        let mut head = Bytes::default();
        let start = head.begin_raw(BATCH_BEGIN, flag::REQUEST, first, 0, SUBSYSTEM);
        head.end_message(start);
        Batch { head, streams: Vec::new(), first, next: first.wrapping_add(1) }
    }

    /// Adds a message and tells its number.
    pub(crate) fn message(&mut self, message: Message, attributes: impl FnOnce(&mut Bytes)) -> u32 {
        let (message, seq) = self.numbered(message);
        let start = self.head.begin_message(message, seq);
        attributes(&mut self.head);
        self.head.end_message(start);
        seq
    }

    /// The next message with its number, for one that is made apart.
    pub(crate) fn numbered(&mut self, message: Message) -> (Message, u32) {
        let seq = self.next_number();
        let flags = if seq == self.answered() { message.flags | flag::ACK } else { message.flags };
        (Message { flags, ..message }, seq)
    }

    fn next_number(&mut self) -> u32 {
        let seq = self.next;
        self.next = self.next.wrapping_add(1);
        seq
    }

    /// Adds messages that were made apart, see [`Batch::numbered`]; they come after those made here.
    pub(crate) fn append(&mut self, messages: Bytes) {
        self.streams.push(messages);
    }

    /// The number of the message that is answered when all went well.
    pub(crate) fn answered(&self) -> u32 {
        self.first.wrapping_add(1)
    }

    /// How many messages were numbered, that of the beginning included.
    pub(crate) fn count(&self) -> u32 {
        self.next.wrapping_sub(self.first)
    }

    /// Whether an answer with this number belongs to the batch.
    pub(crate) fn holds(&self, seq: u32) -> bool {
        seq.wrapping_sub(self.first) < self.count()
    }

    /// The number of the beginning: errors of the batch as a whole have it.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    /// Everything, in the order in which it is sent.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = &[u8]> {
        let mut end = Bytes::default();
        let seq = self.next_number();
        let start = end.begin_raw(BATCH_END, flag::REQUEST, seq, 0, SUBSYSTEM);
        end.end_message(start);
        self.streams.push(end);
        std::iter::once(&self.head).chain(&self.streams).map(Bytes::as_slice)
    }
}
