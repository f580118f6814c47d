//! The sockets of the syslog server.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use testudo_event::Timestamp;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

use super::{
    SyslogConfig,
    frame::Framer,
    message::{self, Format},
};
use crate::{
    batch::{BATCH_BYTES, Collector, Stream},
    counters::MAX_COUNTED_STREAMS,
    outlet::{self, Outlet, Stopped},
    source::SourceError,
    tls::Acceptor,
};

/// Largest datagram that IP carries.
const MAX_DATAGRAM: usize = 65_535;

/// Streams that may be open at once; more are refused.
const MAX_CONNECTIONS: usize = 1_024;

/// A stream that is silent for this long is closed; who has something to say connects again.
const SILENCE: Duration = Duration::from_hours(1);

/// Pause after a connection could not be accepted: there are too many open files, most likely.
const REFUSAL: Duration = Duration::from_millis(100);

pub(super) async fn serve(
    config: &SyslogConfig,
    address: SocketAddr,
    outlet: &Outlet,
) -> Result<(), SourceError> {
    let failed = |protocol: &str| SourceError::io(format!("listen on {address} ({protocol})"));
    let acceptor = Acceptor::new(config.tls.as_ref())?;
    let (mut datagrams, mut streams) = (None, None);
    if config.udp {
        datagrams = Some(UdpSocket::bind(address).await.map_err(failed("UDP"))?);
    }
    if config.tcp {
        streams = Some(TcpListener::bind(address).await.map_err(failed("TCP"))?);
    }
    serve_on(config, datagrams, streams, acceptor, outlet).await
}

/// Serves sockets that are bound already, until one fails or nobody takes lines any more.
pub(super) async fn serve_on(
    config: &SyslogConfig,
    datagrams: Option<UdpSocket>,
    streams: Option<TcpListener>,
    acceptor: Acceptor,
    outlet: &Outlet,
) -> Result<(), SourceError> {
    let receiver = async {
        match datagrams {
            Some(socket) => receive(config, socket, outlet).await,
            None => std::future::pending().await,
        }
    };
    let listener = async {
        match streams {
            Some(listener) => accept(config, listener, acceptor, outlet).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = receiver => result,
        result = listener => result,
    }
}

/// Lines of one look at the socket, by sender.
struct Gathered<'g> {
    config: &'g SyslogConfig,
    outlet: &'g Outlet,
    streams: HashMap<IpAddr, Arc<Stream>>,
    lines: Vec<Collector>,
}

impl Gathered<'_> {
    fn stream(&mut self, sender: IpAddr) -> Arc<Stream> {
        let sender = sender.to_canonical();
        // Nobody who invents senders fills the memory.
        if self.streams.len() >= MAX_COUNTED_STREAMS && !self.streams.contains_key(&sender) {
            self.streams.clear();
        }
        let outlet = self.outlet;
        let stream = self.streams.entry(sender);
        Arc::clone(stream.or_insert_with(|| outlet.stream(&sender.to_string(), "".into(), None)))
    }

    fn add(&mut self, sender: IpAddr, bytes: &[u8]) {
        let stream = self.stream(sender);
        let Some(line) = line_of(bytes, self.config, self.outlet) else { return };
        let at = self.lines.iter().position(|lines| Arc::ptr_eq(lines.stream(), &stream));
        let at = at.unwrap_or_else(|| {
            self.lines.push(Collector::new(stream));
            self.lines.len() - 1
        });
        self.lines[at].push(line.as_bytes());
    }

    async fn send(&mut self) -> Result<(), Stopped> {
        for lines in self.lines.drain(..) {
            self.outlet.send(lines.finish(outlet::now(), None)).await?;
        }
        Ok(())
    }
}

/// The line that a message becomes. What cannot be understood is counted.
fn line_of(bytes: &[u8], config: &SyslogConfig, outlet: &Outlet) -> Option<String> {
    let counters = outlet.counters();
    let bytes = &bytes[..bytes.len().min(config.max_message)];
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        counters.not_utf8.add(1);
    }
    let text = text.trim_end_matches(['\0', '\r', '\n', ' ']);
    if text.is_empty() {
        return None;
    }
    let now = outlet::now();
    let line = if config.raw {
        Some(message::without_priority(text).unwrap_or(text).trim_start().to_owned())
    } else {
        message::parse(text).map(|message| {
            match message.format {
                Format::Rfc3164 => counters.rfc3164.add(1),
                Format::Rfc5424 => counters.rfc5424.add(1),
            }
            note_lag(outlet, message.instant, now);
            message.line(now)
        })
    };
    if line.is_none() {
        counters.malformed.add(1);
        outlet.log.debug(format_args!("a message is neither RFC 3164 nor RFC 5424: {text:?}"));
    }
    // A line has one line: nobody smuggles a second one in.
    line.map(|line| line.replace(['\n', '\r'], " "))
}

fn note_lag(outlet: &Outlet, instant: Option<Timestamp>, now: Timestamp) {
    if let Some(instant) = instant {
        outlet.counters().set_lag_nanos(now.nanos_since(instant).max(0));
    }
}

async fn receive(config: &SyslogConfig, socket: UdpSocket, outlet: &Outlet) -> Result<(), SourceError> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut gathered = Gathered { config, outlet, streams: HashMap::new(), lines: Vec::new() };
    loop {
        let (length, sender) =
            socket.recv_from(&mut buffer).await.map_err(SourceError::io("receive datagrams"))?;
        gathered.add(sender.ip(), &buffer[..length]);
        let mut bytes = length;
        while bytes < BATCH_BYTES
            && let Ok((length, sender)) = socket.try_recv_from(&mut buffer)
        {
            gathered.add(sender.ip(), &buffer[..length]);
            bytes += length.max(1);
        }
        if gathered.send().await.is_err() {
            return Ok(());
        }
    }
}

async fn accept(
    config: &SyslogConfig,
    listener: TcpListener,
    acceptor: Acceptor,
    outlet: &Outlet,
) -> Result<(), SourceError> {
    let config = Arc::new(config.clone());
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                outlet.log.warn(format_args!("cannot accept a connection: {error}"));
                tokio::time::sleep(REFUSAL).await;
                continue;
            }
        };
        if connections.len() >= MAX_CONNECTIONS {
            outlet.counters().refused.add(1);
            outlet.log.warn(format_args!("{peer} is refused: {MAX_CONNECTIONS} connections are open"));
            continue;
        }
        let (acceptor, config, outlet) = (acceptor.clone(), Arc::clone(&config), outlet.clone());
        connections.spawn(async move {
            match acceptor.accept(stream).await {
                Ok(stream) => read(stream, peer.ip(), &config, &outlet).await,
                Err(error) => {
                    outlet.counters().refused.add(1);
                    outlet.log.warn(format_args!("{peer} is refused: {error}"));
                }
            }
        });
    }
}

async fn read(mut stream: impl AsyncRead + Unpin, peer: IpAddr, config: &SyslogConfig, outlet: &Outlet) {
    let mut gathered = Gathered { config, outlet, streams: HashMap::new(), lines: Vec::new() };
    let mut framer = Framer::new(config.max_message);
    let mut buffer = vec![0; 16 << 10];
    loop {
        match tokio::time::timeout(SILENCE, stream.read(&mut buffer)).await {
            Ok(Ok(count @ 1..)) => framer.feed(&buffer[..count], &mut |message| gathered.add(peer, message)),
            Ok(Ok(_)) => break,
            Ok(Err(error)) => {
                outlet.log.debug(format_args!("{peer} broke off: {error}"));
                break;
            }
            Err(_) => break,
        }
        if gathered.send().await.is_err() {
            return;
        }
    }
    framer.finish(&mut |message| gathered.add(peer, message));
    // If nobody takes lines any more, there is nothing left to do.
    let _: Result<(), Stopped> = gathered.send().await;
}
