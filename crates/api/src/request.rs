//! A request as the handlers see it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName};

use crate::query::Query;

/// What the listener knows of a client that showed a certificate, after it has verified the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its common name.
    pub common_name: String,
    /// Its organisational units.
    pub organizational_units: Vec<String>,
}

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address of the other end; 127.0.0.1 for a Unix socket.
    pub peer: IpAddr,
    /// Whether it came by a Unix socket.
    pub is_unix: bool,
    /// The certificate that was shown, if it holds.
    pub certificate: Option<Arc<PeerCertificate>>,
}

impl Origin {
    /// A connection over TCP without a certificate.
    pub fn tcp(peer: IpAddr) -> Origin {
        Origin { peer, is_unix: false, certificate: None }
    }

    /// A connection over a Unix socket.
    pub fn unix() -> Origin {
        Origin { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), is_unix: true, certificate: None }
    }
}

/// What a handler is given.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// The last part of the path, where that is a parameter; decoded.
    pub(crate) parameter: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    /// Decompressed.
    pub(crate) body: Bytes,
    /// The address that is taken for the client's.
    pub(crate) client: IpAddr,
    pub(crate) certificate: Option<Arc<PeerCertificate>>,
    /// Milliseconds since 1970.
    pub(crate) now_ms: i64,
}

impl Ask {
    /// A header's text; empty when there is none.
    pub(crate) fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether it is only about the status.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }
}
