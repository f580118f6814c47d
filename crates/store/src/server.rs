//! Database servers: where they are, who we are there, and how far they are trusted.

use std::fmt;
use std::path::PathBuf;

/// Connections to a server at most, unless it is said otherwise.
const CONNECTIONS: usize = 100;

/// A database server and how it is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name or address; empty for its socket on this machine.
    pub host: String,
    /// Its port; 0 for the usual one.
    pub port: u16,
    /// Its socket, when there is no host: the file, or for PostgreSQL the folder of it.
    pub socket: Option<PathBuf>,
    /// Who we are.
    pub user: String,
    /// How we prove it. Never shown.
    pub password: String,
    /// The database.
    pub database: String,
    /// PostgreSQL: the schema in which the tables are; empty for the usual one of the user.
    pub schema: String,
    /// Encryption. Sockets are never encrypted.
    pub tls: ServerTls,
    /// How many connections are used at once, 3 at least.
    pub connections_most: usize,
}

impl Default for Server {
    /// A server without a name, which is reached by nothing.
    fn default() -> Self {
        Server {
            host: String::new(),
            port: 0,
            socket: None,
            user: String::new(),
            password: String::new(),
            database: String::new(),
            schema: String::new(),
            tls: ServerTls::default(),
            connections_most: CONNECTIONS,
        }
    }
}

impl fmt::Debug for Server {
    /// All but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("socket", &self.socket)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("schema", &self.schema)
            .field("tls", &self.tls)
            .field("connections_most", &self.connections_most)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Server {
    /// `user@host:port/database`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server { host, port, user, database, .. } = self;
        match (&self.socket, host.is_empty()) {
            (Some(socket), true) => write!(f, "{user}@{}/{database}", socket.display()),
            _ if *port == 0 => write!(f, "{user}@{host}/{database}"),
            _ => write!(f, "{user}@{host}:{port}/{database}"),
        }
    }
}

/// Encryption of the way to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// How much is demanded.
    pub mode: TlsMode,
    /// The certificates of authorities that are trusted beside those of the system, PEM.
    pub authority: Option<PathBuf>,
    /// Our certificate with its chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
}

/// How much encryption is demanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// None.
    #[default]
    Off,
    /// If the server offers it. Helps against listeners only.
    Preferred,
    /// Always, with whomever it is.
    Required,
    /// Always, with someone whose certificate an authority signed.
    Authority,
    /// Always, with someone whose certificate is for the name of the server.
    Full,
}

/// A word for the encryption of the way to a server that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sslmode '{word}' is none of {known}")]
pub struct BadTlsMode {
    word: String,
    known: &'static str,
}

impl TlsMode {
    /// A word of PostgreSQL's own clients. Empty means `prefer`; a certificate of an authority makes `require`
    /// check it, and the empty word too.
    ///
    /// # Errors
    /// It is none of these words.
    pub fn of_postgres(word: &str, has_authority: bool) -> Result<TlsMode, BadTlsMode> {
        Ok(match word {
            "disable" => TlsMode::Off,
            "" | "require" if has_authority => TlsMode::Authority,
            "" | "allow" | "prefer" => TlsMode::Preferred,
            "require" => TlsMode::Required,
            "verify-ca" => TlsMode::Authority,
            "verify-full" => TlsMode::Full,
            _ => {
                let known = "disable, allow, prefer, require, verify-ca, verify-full";
                return Err(BadTlsMode { word: word.to_owned(), known });
            }
        })
    }

    /// A word as configurations use it for MySQL. Empty means none, unless there is a certificate of ours or
    /// of an authority.
    ///
    /// # Errors
    /// It is none of these words.
    pub fn of_mysql(word: &str, has_certificates: bool) -> Result<TlsMode, BadTlsMode> {
        Ok(match word {
            "" if has_certificates => TlsMode::Full,
            "" | "false" => TlsMode::Off,
            "preferred" => TlsMode::Preferred,
            "skip-verify" => TlsMode::Required,
            "true" | "custom" => TlsMode::Full,
            _ => {
                let known = "true, false, skip-verify, preferred, custom";
                return Err(BadTlsMode { word: word.to_owned(), known });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_postgres() {
        for (word, has_authority, expected) in [
            ("disable", true, Some(TlsMode::Off)),
            ("", false, Some(TlsMode::Preferred)),
            ("", true, Some(TlsMode::Authority)),
            ("allow", true, Some(TlsMode::Preferred)),
            ("require", false, Some(TlsMode::Required)),
            ("require", true, Some(TlsMode::Authority)),
            ("verify-ca", false, Some(TlsMode::Authority)),
            ("verify-full", true, Some(TlsMode::Full)),
            ("verify", true, None),
        ] {
            assert_eq!(TlsMode::of_postgres(word, has_authority).ok(), expected, "{word}");
        }
    }

    #[test]
    fn words_of_mysql() {
        for (word, has_certificates, expected) in [
            ("", false, Some(TlsMode::Off)),
            ("", true, Some(TlsMode::Full)),
            ("false", true, Some(TlsMode::Off)),
            ("true", false, Some(TlsMode::Full)),
            ("skip-verify", true, Some(TlsMode::Required)),
            ("preferred", false, Some(TlsMode::Preferred)),
            ("custom", true, Some(TlsMode::Full)),
            ("verify-full", true, None),
        ] {
            assert_eq!(TlsMode::of_mysql(word, has_certificates).ok(), expected, "{word}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let server = Server { password: "s3cret".to_owned(), user: "u".to_owned(), ..Server::default() };
        assert!(!format!("{server:?} {server}").contains("s3cret"));
    }
}
