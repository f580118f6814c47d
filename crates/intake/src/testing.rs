//! What the tests of several modules share.

use std::sync::{Arc, Mutex};

use testudo_expr::host::NoServices;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    batch::{Batch, Labels, Stream},
    kind::Kind,
    log::Log,
    outlet::Outlet,
    position::Positions,
    source::{Mode, Settings},
};

/// Settings with the label `type: syslog` and nothing else.
pub(crate) fn settings(kind: Kind) -> Settings {
    Settings {
        kind,
        title: "test".to_owned(),
        name: String::new(),
        unique_id: String::new(),
        scope: String::new(),
        labels: Arc::new(Labels::from([("type".to_owned(), "syslog".to_owned())])),
        log_level: None,
        mode: Mode::Tail,
        use_time_machine: false,
        transform: None,
    }
}

/// A stream of such a source.
pub(crate) fn stream(kind: Kind, src: &str, key: &str) -> Arc<Stream> {
    let settings = settings(kind);
    Arc::new(Stream {
        source: 0,
        kind,
        src: src.into(),
        labels: settings.labels,
        time_machine: false,
        key: key.into(),
        count: Arc::default(),
    })
}

/// An outlet on the current runtime, and what comes out of it.
pub(crate) fn outlet(settings: &Settings, positions: Positions) -> (Outlet, mpsc::Receiver<Batch>) {
    let (sender, receiver) = mpsc::channel(1_000);
    let outlet = Outlet {
        source: 0,
        settings: Arc::new(settings.clone()),
        sender,
        delivered: Arc::new(Mutex::new(positions)),
        counters: Arc::default(),
        log: Arc::new(Log::new("test".to_owned(), None)),
        cancel: CancellationToken::new(),
        services: Arc::new(NoServices),
        runtime: tokio::runtime::Handle::current(),
    };
    (outlet, receiver)
}

/// Bytes as they may come from a peer: in pieces, some of them empty, cut at these places.
pub(crate) fn pieces(bytes: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.iter_mut().for_each(|at| *at = (*at).min(bytes.len()));
    cuts.sort_unstable();
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    let mut from = 0;
    for at in cuts {
        pieces.push(&bytes[from..at]);
        from = at;
    }
    pieces.push(&bytes[from..]);
    pieces
}
