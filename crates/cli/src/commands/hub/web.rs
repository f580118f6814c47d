//! A hub on a server.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use testudo_hub::install::{DATA_MOST, INDEX_MOST, ITEM_MOST, Source, SourceError};
use testudo_rules::plan::DataFile;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// For a whole file.
const FILE_WITHIN: Duration = Duration::from_mins(5);
/// For a connection, and for the head of an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What stands for the branch and for the file in addresses of the ecosystem.
const PLACE: &str = "%s";

/// A server with a hub.
pub(super) struct WebSource {
    agent: Agent,
    /// An address with a place for the file.
    template: String,
    /// Servers that could not be reached: without a network, one wait is enough.
    unreachable: RefCell<BTreeSet<String>>,
}

impl WebSource {
    /// The hub whose files stand below an address.
    pub(super) fn at(address: &str) -> Self {
        Self::with(format!("{}/{PLACE}", address.trim_end_matches('/').replace(PLACE, "%25s")))
    }

    /// The hub of the ecosystem: the address has places for the branch and the file.
    pub(super) fn of_branch(template: &str, branch: &str) -> Self {
        Self::with(template.replacen(PLACE, branch, 1))
    }

    fn with(template: String) -> Self {
        let found = rustls_native_certs::load_native_certs();
        let roots: Vec<Certificate<'static>> =
            found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(std::sync::Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(FILE_WITHIN))
            .timeout_connect(Some(ANSWER_WITHIN))
            .timeout_recv_response(Some(ANSWER_WITHIN))
            .user_agent(testudo_client::user_agent())
            .build()
            .new_agent();
        WebSource { agent, template, unreachable: RefCell::default() }
    }

    fn get(&self, address: &str, most: u64) -> Result<Vec<u8>, SourceError> {
        let shown = without_password(address);
        let failed = |error: ureq::Error| match error {
            ureq::Error::RequireHttpsOnly(there) => {
                SourceError(format!("{shown} leads to {}, which is not encrypted", without_password(&there)))
            }
            error => SourceError(format!("{shown}: {error}")),
        };
        let server = address.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        if self.unreachable.borrow().contains(&server) {
            return Err(SourceError(format!("{} cannot be reached", without_password(&server))));
        }
        // Nobody on the way may lead on to a server that everybody can pretend to be.
        let is_safe = address.starts_with("https://");
        let question = self.agent.get(address).config().https_only(is_safe).build();
        let answer = question.call().inspect_err(|error| {
            let is_there = matches!(error, ureq::Error::StatusCode(_) | ureq::Error::BodyExceedsLimit(_));
            if !is_there {
                self.unreachable.borrow_mut().insert(server);
            }
        });
        let mut answer = answer.map_err(failed)?;
        answer.body_mut().with_config().limit(most).read_to_vec().map_err(failed)
    }

    fn address(&self, path: &str) -> String {
        self.template.replacen(PLACE, path, 1)
    }
}

impl Source for WebSource {
    fn index(&self) -> Result<Vec<u8>, SourceError> {
        // With the files in it, nothing else has to be fetched; servers that do not know that give it as it is.
        self.get(&format!("{}?with_content=true", self.address(".index.json")), INDEX_MOST)
    }

    fn item(&self, path: &str) -> Result<Vec<u8>, SourceError> {
        self.get(&self.address(path), ITEM_MOST)
    }

    fn data(&self, file: &DataFile) -> Result<Vec<u8>, SourceError> {
        if !file.source_url.starts_with("https://") && !file.source_url.starts_with("http://") {
            return Err(SourceError(format!("{} is no address on the web", file.source_url)));
        }
        self.get(&file.source_url, DATA_MOST)
    }
}

/// An address as it is told: without the name and password that may stand in it.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, host)| host);
    format!("{scheme}://{host}{}", &rest[end..])
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    /// A server that answers one question in this way; returns its address.
    fn answering(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let mut question = [0; 4_096];
            let _ = stream.read(&mut question);
            answer(&mut stream);
        });
        format!("http://{address}")
    }

    #[test]
    fn a_server_cannot_fill_the_memory() {
        let endless = answering(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            let blanks = vec![b' '; 1 << 16];
            // Until nobody listens any more.
            while stream.write_all(&blanks).is_ok() {}
        });
        let told = WebSource::at(&endless).item("x.yaml").expect_err("it has no end").to_string();
        assert!(told.contains("limit"), "{told}");
    }

    #[test]
    fn an_answer_that_breaks_off_is_none() {
        let short = answering(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nname: x\n");
        });
        assert!(WebSource::at(&short).item("x.yaml").is_err());
    }

    /// What says that it is packed is taken as it is: nothing grows while it is unpacked.
    #[test]
    fn nothing_is_unpacked() {
        let packed = answering(|stream| {
            let head =
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00";
            let _ = stream.write_all(head);
        });
        assert_eq!(WebSource::at(&packed).item("x.yaml").expect("bytes"), b"\x1f\x8b\x08\x00");
    }

    #[test]
    fn passwords_are_not_told() {
        assert_eq!(
            without_password("https://bot:s3c@ret@hub.example:8443/a@b"),
            "https://hub.example:8443/a@b"
        );
        assert_eq!(without_password("http://hub.example"), "http://hub.example");
    }
}
