//! Asks services elsewhere over HTTPS: few at once, for a short time, and for short answers.

use std::{
    io::Read,
    sync::{Arc, OnceLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use testudo_event::text::url_part;
use tokio::sync::Semaphore;
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

/// Questions that are on their way at once. Each has a thread.
const MAX_ASKED: usize = 16;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 256 << 10;

/// All of them are on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// Where questions come from.
#[derive(Debug)]
pub(crate) struct Outside {
    room: Arc<Semaphore>,
    caller: Arc<OnceLock<Caller>>,
}

impl Default for Outside {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_ASKED)), caller: Arc::default() }
    }
}

impl Outside {
    /// Runs what asks somebody on a thread where it may wait; not at all if too many do.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Caller) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Busy)?;
        let caller = Arc::clone(&self.caller);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(caller.get_or_init(Caller::new))
        });
        done.await.map_err(|_| Busy)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Asks on the thread that calls it.
#[derive(Debug)]
pub(crate) struct Caller(Agent);

impl Caller {
    /// Trusts whom the system trusts.
    pub(crate) fn new() -> Self {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            tracing::error!(errors = ?found.errors, "the system has no authorities; no service elsewhere can be asked");
        }
        let roots = found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // A secret goes to whom it is meant for, and no further.
            .max_redirects(0)
            .user_agent(concat!("testudo-gate/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(config.into())
    }

    /// Asks for a document.
    pub(crate) fn get(&self, url: &str, timeout: Duration) -> Result<Reply, String> {
        let request = self.0.get(url).header("accept", "application/json");
        read(request.config().timeout_global(Some(timeout)).build().call())
    }

    /// Sends a form, with a name and a password where they are given.
    pub(crate) fn post(
        &self,
        url: &str,
        fields: &[(&str, &str)],
        who: Option<(&str, &str)>,
        timeout: Duration,
    ) -> Result<Reply, String> {
        let mut request = self.0.post(url).header("accept", "application/json");
        if let Some((name, password)) = who {
            // OAuth 2.0 has both encoded as in a form first (RFC 6749, 2.3.1).
            let pair = format!("{}:{}", url_part(name), url_part(password));
            request = request.header("authorization", format!("Basic {}", STANDARD.encode(pair)));
        }
        let request = request.config().timeout_global(Some(timeout)).build();
        read(request.send_form(fields.iter().copied()))
    }
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Reply, String> {
    let mut answer = answer.map_err(|error| error.to_string())?;
    // This limit counts bytes as they arrive, which may be packed.
    let body = whole(answer.body_mut().with_config().limit(MAX_ANSWER).reader())?;
    Ok(Reply { status: answer.status().as_u16(), body })
}

/// All that is read, unless it is too much.
fn whole(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    reader.take(MAX_ANSWER + 1).read_to_end(&mut body).map_err(|error| error.to_string())?;
    if body.len() as u64 > MAX_ANSWER {
        return Err(format!("the answer has more than {MAX_ANSWER} bytes"));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_is_bounded() {
        let read = |bytes| whole(std::io::repeat(b' ').take(bytes)).map(|body| body.len() as u64);
        assert_eq!(read(MAX_ANSWER), Ok(MAX_ANSWER));
        assert!(read(MAX_ANSWER + 1).is_err());
        assert!(whole(std::io::repeat(b' ')).is_err());
    }
}
