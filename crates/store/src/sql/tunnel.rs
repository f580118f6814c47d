//! TLS to MySQL and MariaDB. The client library would bring a second TLS with it, so it talks in the clear to
//! a socket of ours, in a folder that nobody else can enter, and a thread carries that on, encrypted.
//!
//! The servers begin in the clear. Who wants encryption sends the head of his greeting, shakes hands, and sends
//! all of it: one packet more, by which the numbers of packets differ until he is let in.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio_rustls::TlsConnector;

use super::{SqlError, SqlErrorKind};

/// Time for each step until the server is spoken with.
const STEP: Duration = Duration::from_secs(10);
/// A server that is silent for so long is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A packet of a greeting at most, in bytes; real ones have a few hundred.
const PACKET_MOST: usize = 64 * 1024;

/// The bit of encryption among the abilities, in their second byte.
const CLIENT_SSL: u8 = 0x08;
/// The part of a client's greeting that asks for encryption.
const HEAD: usize = 32;

static FOLDERS: AtomicU64 = AtomicU64::new(0);

/// A way to a server. It lives as long as the connection that goes through it.
pub(super) struct Tunnel {
    folder: PathBuf,
    failure: Arc<Mutex<Option<String>>>,
}

impl Tunnel {
    /// Connects to a server. Then one client may connect to [`Tunnel::socket`].
    pub(super) fn open(
        host: &str,
        port: u16,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        may_be_clear: bool,
    ) -> Result<Tunnel, SqlError> {
        let lost = |error: io::Error| SqlError::new(SqlErrorKind::Disconnected, error);
        let server = connect(host, port).map_err(lost)?;
        let folder = private_folder().map_err(|error| SqlError::new(SqlErrorKind::Other, error))?;
        let tunnel = Tunnel { folder, failure: Arc::default() };
        let listener = UnixListener::bind(tunnel.socket()).map_err(lost)?;
        let failure = Arc::clone(&tunnel.failure);
        let carry = move || {
            let way = Way { config, name, may_be_clear };
            if let Err(error) = run(server, listener, &way) {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
        };
        thread::Builder::new().name("database tls".to_owned()).spawn(carry).map_err(lost)?;
        Ok(tunnel)
    }

    /// Where the client connects to.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Why the tunnel ended, if something went wrong with it.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // What is left of it is empty and harmless.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Way {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    may_be_clear: bool,
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, STEP) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
                rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
                stream.set_nonblocking(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Makes a folder that only its owner may enter.
fn private_folder() -> io::Result<PathBuf> {
    loop {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("testudo-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder),
        }
    }
}

fn run(server: TcpStream, listener: UnixListener, way: &Way) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut server = tokio::net::TcpStream::from_std(server)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let (mut client, _) = in_time(listener.accept()).await?;
        drop(listener);
        let greeting = in_time(read_packet(&mut server)).await?;
        write_packet(&mut client, 0, &greeting.1).await?;
        if !offers_tls(&greeting.1) {
            // A server that is full says so instead of greeting.
            if way.may_be_clear || greeting.1.first() == Some(&0xff) {
                return copy_bidirectional(&mut client, &mut server).await.map(drop);
            }
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the server does not offer TLS"));
        }
        let mut answer = in_time(read_packet(&mut client)).await?.1;
        *answer.get_mut(1).ok_or_else(unexpected)? |= CLIENT_SSL;
        write_packet(&mut server, 1, answer.get(..HEAD).ok_or_else(unexpected)?).await?;
        let connector = TlsConnector::from(Arc::clone(&way.config));
        let mut secure = in_time(connector.connect(way.name.clone(), server)).await?;
        write_packet(&mut secure, 2, &answer).await?;
        authenticate(&mut client, &mut secure).await?;
        copy_bidirectional(&mut client, &mut secure).await.map(drop)
    })
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(STEP, step).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer")),
    }
}

/// Carries packets with their numbers put right until the client is let in or sent away.
async fn authenticate<C, S>(client: &mut C, server: &mut S) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let (number, packet) = in_time(read_packet(server)).await?;
        write_packet(client, number.wrapping_sub(1), &packet).await?;
        match packet[..] {
            [0x00 | 0xff, ..] => return Ok(()),
            // The password was remembered: the verdict follows.
            [1, 3] => {}
            _ => {
                let (number, packet) = in_time(read_packet(client)).await?;
                write_packet(server, number.wrapping_add(1), &packet).await?;
            }
        }
    }
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server does not speak as MySQL does")
}

/// A packet with its number.
async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [a, b, c, number] = head;
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    if length > PACKET_MOST {
        return Err(unexpected());
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await?;
    Ok((number, packet))
}

async fn write_packet(stream: &mut (impl AsyncWrite + Unpin), number: u8, packet: &[u8]) -> io::Result<()> {
    let [a, b, c, _] = (packet.len() as u32).to_le_bytes();
    let bytes = [&[a, b, c, number][..], packet].concat();
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Whether a server's greeting has the bit of encryption: after its protocol, its version as a text that ends
/// with a zero, the number of the connection and the first part of a nonce.
fn offers_tls(greeting: &[u8]) -> bool {
    let Some((10, rest)) = greeting.split_first() else { return false };
    let Some(end) = rest.iter().position(|&byte| byte == 0) else { return false };
    rest.get(end + 1 + 4 + 8 + 1 + 1).is_some_and(|abilities| abilities & CLIENT_SSL != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_tell_of_encryption() {
        let greeting = |abilities: [u8; 2]| {
            [&[10][..], b"10.11.6-MariaDB\0", &[1, 0, 0, 0], b"12345678\0", &abilities[..]].concat()
        };
        for (greeting, expected) in [
            (greeting([0xff, 0xff]), true),
            (greeting([0, 0x08]), true),
            (greeting([0xff, 0xf7]), false),
            (b"\xff\x10\x04too many".to_vec(), false),
            (vec![10, b'8'], false),
            (Vec::new(), false),
        ] {
            assert_eq!(offers_tls(&greeting), expected, "{greeting:?}");
        }
    }
}
