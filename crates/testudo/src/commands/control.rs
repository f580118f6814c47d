//! Questions to the daemon over its control socket.

use std::{
    io::{Error, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long the daemon may take to begin with its answer. A reload reads and compiles all rules.
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks, and returns the status and the body of the answer.
pub(super) fn ask(socket: &Path, method: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: testudo\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let unreadable = || Error::new(ErrorKind::InvalidData, "the answer is not that of a daemon");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(unreadable)?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    Ok((status.ok_or_else(unreadable)?, body.to_owned()))
}
