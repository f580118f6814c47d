//! The protocol of HAProxy's stream processing agents (SPOP 2.0): how it asks about a request.
//!
//! HAProxy sends a message with the request's head and gets variables back. Pages do not fit into that: HAProxy sends the
//! request itself to the gate's HTTP port, as other web servers do.

use std::{io, net::IpAddr, sync::Arc, time::Instant};

use hyper::header::HOST;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

use super::{BUFFER, HEAD_TIMEOUT, Service, headers::Headers};
use crate::{
    address::{self, Peer},
    metrics::Outcome,
    moment::Moment,
    policy::host_name,
    visit::{Untold, Visit},
};

/// The largest frame that is read, in bytes; HAProxy's usual limit is a little below.
const MAX_FRAME: u32 = 64 << 10;

const HELLO: u8 = 1;
const DISCONNECT: u8 = 2;
const NOTIFY: u8 = 3;
const AGENT_HELLO: u8 = 101;
const AGENT_DISCONNECT: u8 = 102;
const ACK: u8 = 103;

/// The flag of a frame that is not continued: all of them, as nothing else was agreed on.
const FIN: u32 = 1;

const SET_VARIABLE: u8 = 1;
/// The scope of a variable that lasts for a request and its answer.
const TRANSACTION: u8 = 2;

const BOOL: u8 = 1;
const U32: u8 = 3;
const TEXT: u8 = 8;

/// A value, as far as the gate needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value<'f> {
    Nothing,
    Bool(bool),
    Number(u64),
    Address(IpAddr),
    Bytes(&'f [u8]),
}

/// Answers the frames of one connection, in their order.
pub(super) async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    service: Arc<Service>,
) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    let mut answers = Vec::new();
    loop {
        let frame = tokio::time::timeout(HEAD_TIMEOUT, read(&mut stream)).await;
        // A connection that rests for too long ends as one that HAProxy closes.
        let Ok(Some(frame)) = frame.unwrap_or(Ok(None)) else {
            return Ok(());
        };
        let answer = answer(&frame, &service).ok_or_else(|| bad("a frame that cannot be read"))?;
        answers.extend(answer.bytes);
        // HAProxy asks again before it is answered: what came together is answered together.
        if answer.is_last || !holds_frame(stream.buffer()) {
            stream.write_all(&answers).await?;
            answers.clear();
        }
        if answer.is_last {
            return stream.shutdown().await;
        }
    }
}

/// Whether there is a whole frame.
fn holds_frame(buffer: &[u8]) -> bool {
    buffer
        .split_first_chunk()
        .is_some_and(|(length, rest)| rest.len() >= u32::from_be_bytes(*length) as usize)
}

struct Answer {
    bytes: Vec<u8>,
    is_last: bool,
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads a frame without its length. None where the connection has ended.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u32().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > MAX_FRAME {
        return Err(bad("a frame that is too long"));
    }
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

/// The answer to a frame. None if it cannot be read.
fn answer(frame: &[u8], service: &Service) -> Option<Answer> {
    let mut reader = Reader(frame);
    let kind = reader.byte()?;
    let flags = u32::from_be_bytes(*reader.take(4)?.first_chunk()?);
    let (stream, number) = (reader.number()?, reader.number()?);
    if flags & FIN == 0 {
        return None;
    }
    match kind {
        HELLO => {
            let (mut size, mut is_probe) = (u64::from(MAX_FRAME), false);
            while !reader.0.is_empty() {
                match (reader.bytes()?, reader.value()?) {
                    (b"max-frame-size", Value::Number(offered)) => size = size.min(offered),
                    (b"healthcheck", Value::Bool(probe)) => is_probe = probe,
                    _ => {}
                }
            }
            let mut writer = Writer::new(AGENT_HELLO, 0, 0);
            writer.text_pair("version", "2.0");
            writer.bytes(b"max-frame-size");
            writer.0.push(U32);
            writer.number(size);
            writer.text_pair("capabilities", "pipelining");
            Some(Answer { bytes: writer.frame(), is_last: is_probe })
        }
        NOTIFY => {
            let mut writer = Writer::new(ACK, stream, number);
            while !reader.0.is_empty() {
                reader.bytes()?;
                let count = reader.byte()?;
                let mut arguments = Vec::with_capacity(count.into());
                for _ in 0..count {
                    arguments.push((reader.bytes()?, reader.value()?));
                }
                let outcome = check(&arguments, service);
                writer.set("outcome", outcome.name());
                writer.set("verdict", if outcome.passes() { "pass" } else { "stop" });
            }
            Some(Answer { bytes: writer.frame(), is_last: false })
        }
        DISCONNECT => {
            let mut writer = Writer::new(AGENT_DISCONNECT, 0, 0);
            writer.bytes(b"status-code");
            writer.0.push(U32);
            writer.number(0);
            writer.text_pair("message", "");
            Some(Answer { bytes: writer.frame(), is_last: true })
        }
        _ => None,
    }
}

fn check(arguments: &[(&[u8], Value<'_>)], service: &Service) -> Outcome {
    let start = Instant::now();
    let find =
        |name: &str| arguments.iter().find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value);
    let text = |name: &str| match find(name) {
        Some(Value::Bytes(bytes)) => Some(String::from_utf8_lossy(bytes)),
        _ => None,
    };
    let told = headers(&text("headers").unwrap_or_default());
    let visit = told.all().and_then(|headers| {
        let Some(Value::Address(source)) = find("src") else { return Err(Untold::Address) };
        let client = service.gate.with_policy(|policy| {
            address::client(Peer::Address(*source), &policy.proxies, policy.address, headers)
        });
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        Ok(Visit {
            address: client.ok_or(Untold::Address)?,
            host: host_name(host),
            method: text("method").ok_or(Untold::Method)?,
            target: text("url").ok_or(Untold::Target)?,
            is_https: find("ssl") == Some(&Value::Bool(true)),
            // The headers are as the visitor sent them.
            from_proxy: false,
            headers,
        })
    });
    let outcome = match visit {
        Ok(visit) => service.gate.check(&visit, &*service.decisions, Moment::now(service.start)).outcome,
        Err(untold) => {
            service.gate.untold(untold);
            Outcome::Untold
        }
    };
    service.gate.metrics().took(start.elapsed());
    outcome
}

/// The headers of a request, as they come over the wire.
fn headers(text: &str) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in text.split("\r\n").filter_map(|line| line.split_once(':')) {
        headers.add(name.as_bytes(), value.trim().as_bytes());
    }
    headers
}

/// What is left of a frame.
struct Reader<'f>(&'f [u8]);

impl<'f> Reader<'f> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn take(&mut self, count: usize) -> Option<&'f [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number: below 240 in one byte, else four bits there and seven in each of the next.
    fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let mut number = u64::from(first);
        if first < 240 {
            return Some(number);
        }
        let mut shift = 4;
        loop {
            let byte = self.byte()?;
            number = number.checked_add(u64::from(byte).checked_mul(1_u64.checked_shl(shift)?)?)?;
            shift += 7;
            if byte < 128 {
                return Some(number);
            }
        }
    }

    fn bytes(&mut self) -> Option<&'f [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    fn value(&mut self) -> Option<Value<'f>> {
        let kind = self.byte()?;
        Some(match kind & 0x0f {
            0 => Value::Nothing,
            BOOL => Value::Bool(kind & 0x10 != 0),
            2..=5 => Value::Number(self.number()?),
            6 => Value::Address(IpAddr::from(*self.take(4)?.first_chunk::<4>()?)),
            7 => Value::Address(IpAddr::from(*self.take(16)?.first_chunk::<16>()?)),
            TEXT | 9 => Value::Bytes(self.bytes()?),
            _ => return None,
        })
    }
}

/// A frame that is being written, without its length.
struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8, stream: u64, number: u64) -> Self {
        let mut writer = Self(vec![kind]);
        writer.0.extend(FIN.to_be_bytes());
        writer.number(stream);
        writer.number(number);
        writer
    }

    fn number(&mut self, mut number: u64) {
        if number < 240 {
            self.0.push(number as u8);
            return;
        }
        self.0.push(number as u8 | 0xf0);
        number = (number - 240) >> 4;
        while number >= 128 {
            self.0.push(number as u8 | 0x80);
            number = (number - 128) >> 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn text_pair(&mut self, name: &str, value: &str) {
        self.bytes(name.as_bytes());
        self.0.push(TEXT);
        self.bytes(value.as_bytes());
    }

    /// Has a variable set.
    fn set(&mut self, name: &str, value: &str) {
        self.0.extend([SET_VARIABLE, 3, TRANSACTION]);
        self.text_pair(name, value);
    }

    fn frame(self) -> Vec<u8> {
        let mut frame = (self.0.len() as u32).to_be_bytes().to_vec();
        frame.extend(self.0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{super::tests::service, *};

    proptest! {
        #[test]
        fn numbers_come_back(number in any::<u64>(), bits in 0_u32..64) {
            let number = number >> bits;
            let mut writer = Writer(Vec::new());
            writer.number(number);
            let mut reader = Reader(&writer.0);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut reader = Reader(&bytes);
            while !reader.0.is_empty() {
                if reader.value().is_none() {
                    break;
                }
            }
            headers(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn any_frame_is_answered_or_refused(
            kind in prop_oneof![Just(HELLO), Just(NOTIFY), Just(DISCONNECT), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut frame = vec![kind, 0, 0, 0, 1, 0, 0];
            frame.extend(rest);
            let _ = super::answer(&frame, &service());
        }
    }

    /// The content of the answer to a frame, without its length.
    fn ask(writer: Writer) -> Option<String> {
        let frame = writer.frame();
        let answer = answer(&frame[4..], &service())?;
        Some(String::from_utf8_lossy(&answer.bytes[4..]).into_owned())
    }

    fn question(client: [u8; 4]) -> Writer {
        let mut writer = Writer::new(NOTIFY, 3, 4);
        writer.bytes(b"check");
        writer.0.push(4);
        writer.bytes(b"src");
        writer.0.push(6);
        writer.0.extend(client);
        writer.text_pair("method", "GET");
        writer.text_pair("url", "/");
        writer.text_pair("headers", "host: example.org\r\nx-forwarded-for: 198.51.100.2\r\n\r\n");
        writer
    }

    #[test]
    fn frames() {
        let mut hello = Writer::new(HELLO, 0, 0);
        hello.text_pair("supported-versions", "2.0");
        let answer = ask(hello).expect("an answer");
        assert!(answer.contains("version") && answer.contains("pipelining"), "{answer}");
        for (client, outcome, verdict) in
            [([198, 51, 100, 1], "banned", "stop"), ([198, 51, 100, 2], "clean", "pass")]
        {
            let answer = ask(question(client)).expect("an answer");
            assert!(answer.starts_with("g\0\0\0\u{1}\u{3}\u{4}"), "{answer:?}");
            assert!(answer.contains(outcome) && answer.contains(verdict), "{answer:?}");
        }
        assert!(ask(Writer::new(77, 0, 0)).is_none());
        let frame = question([198, 51, 100, 1]).frame();
        for end in 5..frame.len() {
            // Some of them are whole: those that end before the first message.
            let _ = super::answer(&frame[4..end], &service());
        }
    }

    #[tokio::test]
    async fn frames_that_come_together_are_all_answered() {
        let (mut haproxy, gate) = tokio::io::duplex(64 << 10);
        let talking = tokio::spawn(talk(gate, Arc::new(service())));
        let frame = question([198, 51, 100, 1]).frame();
        let (half, rest) = frame.split_at(frame.len() / 2);
        let sent = [&frame, &frame, &frame, half].concat();
        for (sent, expected) in [(sent, 3), (rest.to_vec(), 1), (frame.repeat(200), 200)] {
            haproxy.write_all(&sent).await.expect("it is sent");
            for _ in 0..expected {
                let reading = tokio::time::timeout(Duration::from_secs(20), read(&mut haproxy)).await;
                let answer = reading.expect("in time").expect("it is read").expect("an answer");
                assert!(String::from_utf8_lossy(&answer).contains("banned"));
            }
        }
        drop(haproxy);
        talking.await.expect("it ends").expect("without an error");
    }

    #[test]
    fn numbers_as_haproxy_writes_them() {
        for (number, expected) in [
            (239_u64, &[239_u8][..]),
            (240, &[240, 0]),
            (2_287, &[255, 127]),
            (2_288, &[240, 128, 0]),
            (16_380, &[252, 240, 6]),
        ] {
            let mut writer = Writer(Vec::new());
            writer.number(number);
            assert_eq!(writer.0, expected, "{number}");
        }
        assert_eq!(Reader(&[255; 40]).number(), None);
    }
}
