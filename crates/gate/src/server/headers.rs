//! A visitor's headers, as protocols tell them that are not HTTP.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

use super::MAX_HEADERS;
use crate::visit::Untold;

/// Headers that are being read.
#[derive(Debug, Default)]
pub(super) struct Headers {
    map: HeaderMap,
    has_too_many: bool,
}

impl Headers {
    /// Adds one. What is no name of a header is left out. What cannot stand in a value becomes a question mark: without the
    /// header, the address of a proxy could stand for that of a visitor.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        let Ok(name) = HeaderName::from_bytes(name) else { return };
        if self.map.len() >= MAX_HEADERS {
            self.has_too_many = true;
            return;
        }
        let value = HeaderValue::from_bytes(value).or_else(|_| {
            let readable = |byte: &u8| if byte.is_ascii_control() { b'?' } else { *byte };
            HeaderValue::from_bytes(&value.iter().map(readable).collect::<Vec<_>>())
        });
        if let Ok(value) = value {
            self.map.append(name, value);
        }
    }

    /// All of them; an error if there were too many, as one that is left out may be what matters.
    pub(super) fn all(&self) -> Result<&HeaderMap, Untold> {
        if self.has_too_many { Err(Untold::Headers) } else { Ok(&self.map) }
    }
}
