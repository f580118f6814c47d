//! Listening: changes as an API tells them, see `docs/events.md`.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use testudo_wire::body;
use testudo_wire::stream::StreamBody;

use crate::connect::Sender;
use crate::error::ClientError;
use crate::exchange::{Call, Credential, Exchange};

/// The largest event. Servers split what is larger than some MiB.
const EVENT_MOST: usize = 256 << 20;

/// As much is read of an answer that is none.
const SHOWN_MOST: usize = 1 << 20;

/// What a server of events sends.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";

/// Something that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The listener stands at the present. Without a cursor, whatever there is has to be fetched now.
    Position,
    /// The cursor is of no use any more: everything has to be fetched anew.
    Reset,
    /// What has changed.
    Changed(StreamBody),
    /// Nothing has changed; the connection lives.
    Alive,
}

/// A listener. Dropping it ends the connection.
pub struct Listener {
    body: Incoming,
    parser: Parser,
    cursor: Option<String>,
    silence: std::time::Duration,
    address: String,
    /// Keeps the connection.
    _sender: Sender,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Listener {
    pub(crate) async fn open(
        exchange: &Exchange,
        call: &Call,
        credential: &Credential,
        cursor: Option<String>,
    ) -> Result<Listener, ClientError> {
        let (sender, response) = exchange.open(call, credential).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_stream = kind.is_some_and(|kind| kind.starts_with(EVENT_STREAM));
        let address = exchange.connector.address.shown.clone();
        if !response.status().is_success() || !is_stream {
            let problem = "it is no stream of events".to_owned();
            exchange.read(response, SHOWN_MOST).await?.good()?;
            return Err(ClientError::Unreadable { address, call: call.shown(), problem });
        }
        let silence = exchange.timeouts.silence;
        let body = response.into_body();
        Ok(Listener { body, parser: Parser::default(), cursor, silence, address, _sender: sender })
    }

    /// Where to go on after a break: what comes next is told after this.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Waits for what is told next; nothing when the server has ended the stream, as it does from time to time.
    ///
    /// # Errors
    /// The connection broke, there was silence for too long, or what came cannot be read.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(message) = self.parser.next() {
                let event = message.event().map_err(|problem| self.unreadable(problem))?;
                if message.id.is_some() {
                    self.cursor = message.id;
                }
                return Ok(Some(event));
            }
            let frame = tokio::time::timeout(self.silence, self.body.frame()).await;
            let frame = frame.map_err(|_| ClientError::Timeout {
                address: self.address.clone(),
                doing: "the next event",
                after: self.silence,
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame =
                frame.map_err(|source| ClientError::Broken { address: self.address.clone(), source })?;
            if let Ok(data) = frame.into_data()
                && !self.parser.feed(&data)
            {
                return Err(ClientError::TooLarge { address: self.address.clone(), limit: EVENT_MOST });
            }
        }
    }

    fn unreadable(&self, problem: String) -> ClientError {
        ClientError::Unreadable {
            address: self.address.clone(),
            call: "GET v1/decisions/events".to_owned(),
            problem,
        }
    }
}

/// A message of an event stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Message {
    event: String,
    id: Option<String>,
    data: Vec<u8>,
}

impl Message {
    fn event(&self) -> Result<Event, String> {
        match self.event.as_str() {
            "position" => Ok(Event::Position),
            "reset" => Ok(Event::Reset),
            "decisions" => body::read(&self.data).map(Event::Changed).map_err(|error| error.to_string()),
            // A sign of life, or something that a later server tells.
            _ => Ok(Event::Alive),
        }
    }
}

/// Takes an event stream apart, however its bytes come.
#[derive(Debug, Default)]
struct Parser {
    /// What has come of the next line, and all after it.
    rest: Vec<u8>,
    /// As much of it has no end of a line.
    searched: usize,
    message: Message,
    is_begun: bool,
}

impl Parser {
    /// Takes bytes. `false`: an event is too large.
    fn feed(&mut self, bytes: &Bytes) -> bool {
        self.rest.extend_from_slice(bytes);
        self.rest.len() + self.message.data.len() <= EVENT_MOST
    }

    /// The next whole message.
    fn next(&mut self) -> Option<Message> {
        let mut from = 0;
        let mut found = None;
        let mut searched = std::mem::take(&mut self.searched);
        while let Some(length) = self.rest[searched..].iter().position(|&byte| byte == b'\n') {
            let length = searched + length - from;
            let line = &self.rest[from..from + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            from += length + 1;
            searched = from;
            if line.is_empty() {
                let message = std::mem::take(&mut self.message);
                if std::mem::take(&mut self.is_begun) {
                    found = Some(message);
                    break;
                }
                continue;
            }
            self.is_begun = true;
            let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &line[..colon] {
                b"event" => self.message.event = String::from_utf8_lossy(value).into_owned(),
                b"id" => self.message.id = Some(String::from_utf8_lossy(value).into_owned()),
                b"data" => {
                    if !self.message.data.is_empty() {
                        self.message.data.push(b'\n');
                    }
                    self.message.data.extend_from_slice(value);
                }
                _ => {}
            }
        }
        self.rest.drain(..from);
        if found.is_none() {
            self.searched = self.rest.len();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(pieces: &[&[u8]]) -> Vec<Message> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for piece in pieces {
            assert!(parser.feed(&Bytes::copy_from_slice(piece)));
            while let Some(message) = parser.next() {
                found.push(message);
            }
        }
        found
    }

    #[test]
    fn pieces_make_no_difference() {
        let text = b"event: position\nid: 1-2\ndata: {\"cursor\":\"1-2\"}\n\n:\nid: 1-3\n\n\
            event: decisions\r\nid: 2-4\r\ndata: {\"new\": [],\r\ndata: \"deleted\": []}\r\n\r\nevent: later\n\nevent: cut";
        let whole = messages(&[text]);
        let events: Vec<_> = whole.iter().map(|message| message.event().expect("an event")).collect();
        let expected = [Event::Position, Event::Alive, Event::Changed(StreamBody::default()), Event::Alive];
        assert_eq!(events, expected);
        let ids: Vec<_> = whole.iter().map(|message| message.id.as_deref()).collect();
        assert_eq!(ids, [Some("1-2"), Some("1-3"), Some("2-4"), None]);
        for at in 0..text.len() {
            assert_eq!(messages(&[&text[..at], &text[at..]]), whole, "{at}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(messages(&bytes), whole);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let message = Message { event: "decisions".to_owned(), data: b"{\"new\": [".to_vec(), id: None };
        assert!(message.event().is_err());
    }
}
