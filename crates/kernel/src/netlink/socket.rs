//! The socket to the kernel.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, connect, recv, send,
    sendmsg, socket_with, sockopt,
};

use crate::error::Error;
use crate::netlink::number::{flag, op};
use crate::netlink::write::{Batch, Bytes, INET, Message};

/// What the kernel's queue of answers may hold: one for each change of a batch that fails.
const ANSWERS_BYTES: usize = 8 << 20;

/// An answer holds the message that it answers, which may be 64 KiB long.
const ANSWER_BYTES: usize = 128 << 10;

/// How often a question is put again after a change of the rules cut off its answer.
const ASKS_MAX: u32 = 5;

const HEADER_BYTES: usize = 16;
const FAMILY_BYTES: usize = 4;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A message of a batch that failed, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// The number of the message.
    pub(crate) seq: u32,
    /// Why.
    pub(crate) errno: Errno,
}

/// A connection with the kernel's packet filter.
///
/// The kernel handles what is sent before the call that sends it returns, and puts all answers into the queue of
/// the socket: nothing here waits.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    next: u32,
    send_bytes: usize,
    buffer: Vec<u8>,
}

impl Socket {
    /// Connects, and asks for the generation of the rules: who may do that, may do everything.
    pub(crate) fn open() -> Result<Socket, Error> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )
        .map_err(|errno| match errno {
            Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => Error::NoNftables,
            _ => Error::io("opening the socket", errno),
        })?;
        // Connected to the kernel, so that no other process can put answers into the queue.
        connect(&fd, &SocketAddrNetlink::new(0, 0))
            .map_err(|errno| Error::io("connecting with the kernel", errno))?;
        if sockopt::set_socket_recv_buffer_size_force(&fd, ANSWERS_BYTES).is_err() {
            // Less will do: answers that find no room are noticed, and fewer changes are sent at once.
            let _ = sockopt::set_socket_recv_buffer_size(&fd, ANSWERS_BYTES);
        }
        let mut socket = Socket { fd, next: 1, send_bytes: 0, buffer: vec![0; ANSWER_BYTES] };
        socket.ask(Message::plain(op::GET_GENERATION, INET), |_| (), |_| ()).map_err(|error| match error
            .errno()
        {
            // Without the module there is nobody to answer.
            Some(Errno::INVAL | Errno::OPNOTSUPP) => Error::NoNftables,
            _ => error,
        })?;
        Ok(socket)
    }

    /// An empty batch.
    pub(crate) fn batch(&self) -> Batch {
        Batch::new(self.next)
    }

    /// Sends a batch. Nothing of it has taken effect when there are refusals.
    pub(crate) fn commit(&mut self, mut batch: Batch) -> Result<Vec<Refusal>, Error> {
        let answered = batch.answered();
        let parts: Vec<_> = batch.finish().map(IoSlice::new).collect();
        let bytes = parts.iter().map(|part| part.len()).sum();
        self.make_room(bytes);
        sendmsg(&self.fd, &parts, &mut SendAncillaryBuffer::default(), SendFlags::empty()).map_err(
            |errno| match errno {
                Errno::MSGSIZE | Errno::NOBUFS => Error::TooLarge { bytes },
                _ => Error::io("sending a batch", errno),
            },
        )?;
        drop(parts);
        self.next = self.next.wrapping_add(batch.count());
        let mut refusals = Vec::new();
        let mut done = false;
        let lost = self.answers(|seq, kind, payload| {
            if kind != ERROR || !batch.holds(seq) {
                return;
            }
            match errno(payload) {
                None => done |= seq == answered,
                Some(errno) => refusals.push(Refusal { seq, errno }),
            }
        })?;
        if let Some(whole) = refusals.iter().find(|refusal| refusal.seq == batch.first()) {
            return Err(Error::io("committing a batch", whole.errno));
        }
        if refusals.is_empty() && !done {
            return Err(if lost { Error::AnswersLost } else { Error::Unanswered("a batch") });
        }
        Ok(refusals)
    }

    /// Asks for something; each answer's attributes are handed to `answer`. What is not there is an error with
    /// `ENOENT`.
    pub(crate) fn ask(
        &mut self,
        message: Message,
        attributes: impl FnOnce(&mut Bytes),
        answer: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut question = Bytes::default();
        let seq = self.number();
        // Some kernels say nothing at all of the end of a range without end, unless they must.
        let flags = message.flags | flag::ACK;
        let start = question.begin_message(Message { flags, ..message }, seq);
        attributes(&mut question);
        question.end_message(start);
        self.put(&question, seq, answer).map(|_| ())
    }

    /// Asks for all of a kind. The list is made anew when it changed while it was read.
    pub(crate) fn dump<T>(
        &mut self,
        message: Message,
        attributes: impl Fn(&mut Bytes),
        mut read: impl FnMut(&[u8], &mut Vec<T>),
    ) -> Result<Vec<T>, Error> {
        for _ in 0..ASKS_MAX {
            let mut question = Bytes::default();
            let seq = self.number();
            let start = question.begin_message(Message { flags: message.flags | flag::DUMP, ..message }, seq);
            attributes(&mut question);
            question.end_message(start);
            let mut list = Vec::new();
            match self.put(&question, seq, |payload| read(payload, &mut list)) {
                Ok(whole) if whole => return Ok(list),
                Ok(_) => {}
                Err(error) if error.errno() == Some(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Restless)
    }

    /// Sends a question and reads its answers; whether they are whole.
    fn put(&mut self, question: &Bytes, seq: u32, mut answer: impl FnMut(&[u8])) -> Result<bool, Error> {
        send(&self.fd, question.as_slice(), SendFlags::empty())
            .map_err(|errno| Error::io("asking the kernel", errno))?;
        let mut failure = None;
        let mut answered = false;
        let mut whole = true;
        let lost = self.answers(|found, kind, payload| {
            if found != seq {
                return;
            }
            answered = true;
            whole &= kind & INTERRUPTED == 0;
            match kind & !INTERRUPTED {
                ERROR | DONE => failure = failure.or(errno(payload)),
                _ => answer(payload.get(FAMILY_BYTES..).unwrap_or_default()),
            }
        })?;
        match failure {
            Some(errno) => Err(Error::io("asking the kernel", errno)),
            None if !answered => Err(Error::Unanswered("a question")),
            None => Ok(whole && !lost),
        }
    }

    fn number(&mut self) -> u32 {
        let seq = self.next;
        self.next = self.next.wrapping_add(1);
        seq
    }

    /// Reads all answers that are queued: `each` is given their number, kind and content. Whether some were lost
    /// for want of room.
    fn answers(&mut self, mut each: impl FnMut(u32, u16, &[u8])) -> Result<bool, Error> {
        let mut lost = false;
        loop {
            let length = match recv(&self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Ok(lost),
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => {
                    lost = true;
                    continue;
                }
                Err(errno) => return Err(Error::io("reading the kernel's answer", errno)),
            };
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some((header, _)) = rest.split_first_chunk::<HEADER_BYTES>() {
                let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
                let size = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
                let Some(payload) = rest.get(HEADER_BYTES..size.min(rest.len())) else { break };
                let interrupted = u16::from_ne_bytes([f0, f1]) & flag::INTERRUPTED != 0;
                let kind = u16::from_ne_bytes([k0, k1]) | if interrupted { INTERRUPTED } else { 0 };
                each(u32::from_ne_bytes([s0, s1, s2, s3]), kind, payload);
                rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }

    /// Lets the socket take a message of this size, as far as we may. What it does not take is an error when it
    /// is sent.
    fn make_room(&mut self, bytes: usize) {
        // The kernel keeps some of it for itself.
        let wanted = bytes.saturating_add(4096);
        if wanted <= self.send_bytes {
            return;
        }
        if sockopt::set_socket_send_buffer_size_force(&self.fd, wanted).is_ok()
            || sockopt::set_socket_send_buffer_size(&self.fd, wanted).is_ok()
        {
            self.send_bytes = wanted;
        }
    }
}

/// Marks the kind of an answer that was cut off by a change; no kind of the kernel's has this bit.
const INTERRUPTED: u16 = 0x8000;

fn errno(payload: &[u8]) -> Option<Errno> {
    let code = i32::from_ne_bytes(*payload.first_chunk()?);
    (code != 0).then(|| Errno::from_raw_os_error(code.wrapping_neg()))
}
