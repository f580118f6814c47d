//! Where a line ends up.

use std::io::{self, Write as _};

use tracing::Level;

use super::files::LogFile;

/// The standard output, a file, or the system's log.
pub(super) enum Output {
    Stdout,
    File(LogFile),
    #[cfg(unix)]
    Syslog(std::os::unix::net::UnixDatagram),
}

/// The facility of daemons.
const DAEMON: u8 = 3 << 3;

impl Output {
    #[cfg(unix)]
    pub(super) fn syslog() -> io::Result<Output> {
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        socket.connect("/dev/log")?;
        Ok(Output::Syslog(socket))
    }

    /// Writes a line. A log that cannot be written must not stop the daemon.
    pub(super) fn write(&mut self, level: Level, line: &str) {
        let _ = match self {
            Output::Stdout => writeln!(io::stdout().lock(), "{line}"),
            Output::File(file) => file.write_line(line),
            #[cfg(unix)]
            Output::Syslog(socket) => {
                let severity = match level {
                    Level::ERROR => 3,
                    Level::WARN => 4,
                    Level::INFO => 6,
                    Level::DEBUG | Level::TRACE => 7,
                };
                let message = format!("<{}>testudo[{}]: {line}", DAEMON + severity, std::process::id());
                socket.send(message.as_bytes()).map(|_| ())
            }
        };
    }
}
