//! Requests to Cloudflare over HTTPS, from a thread that waits for the answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use testudo_cloudflare::{Method, Reply, Request, Transport};
use ureq::Agent;
use ureq::http::{self, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::config::CloudflareConfig;

/// Until a connection stands, and until the whole answer is there.
const CONNECT: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(30);

/// The largest answer, in bytes: a page of a list is far below.
const ANSWER_MOST: u64 = 16 << 20;

/// Why requests cannot be sent at all.
#[derive(Debug, thiserror::Error)]
#[error("cloudflare_ca_path: {0}")]
pub struct HttpError(String);

/// The transport.
pub(super) struct Https {
    agent: Agent,
    base: String,
    token: http::HeaderValue,
}

impl Https {
    /// # Errors
    /// The authority that is named cannot be used.
    pub(super) fn new(config: &CloudflareConfig) -> Result<Self, HttpError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(roots(config.authority.as_deref())?)
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // The token goes nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .user_agent(concat!("testudo/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let mut token = http::HeaderValue::try_from(format!("Bearer {}", config.token.expose()))
            .map_err(|_| HttpError("the token has characters that no header has".to_owned()))?;
        token.set_sensitive(true);
        Ok(Https { agent, base: config.url.clone(), token })
    }
}

/// The authorities of the system, and the one that is named.
fn roots(named: Option<&Path>) -> Result<RootCerts, HttpError> {
    let system = rustls_native_certs::load_native_certs().certs;
    let mut all: Vec<Certificate<'static>> =
        system.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    if let Some(path) = named {
        let told = |problem: String| HttpError(format!("{}: {problem}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| told(error.to_string()))?;
        let before = all.len();
        for item in parse_pem(&bytes) {
            if let PemItem::Certificate(certificate) = item.map_err(|error| told(error.to_string()))? {
                all.push(certificate);
            }
        }
        if all.len() == before {
            return Err(told("there is no certificate in it".to_owned()));
        }
    }
    Ok(RootCerts::Specific(Arc::new(all)))
}

impl Transport for Https {
    fn send(&self, request: &Request) -> Result<Reply, String> {
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Patch => http::Method::PATCH,
            Method::Delete => http::Method::DELETE,
        };
        let uri: Uri = format!("{}/{}", self.base, request.path).parse().map_err(told)?;
        let asked = http::Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, self.token.clone())
            .header(header::ACCEPT, "application/json");
        let answer = match &request.body {
            Some(body) => {
                let asked = asked.header(header::CONTENT_TYPE, "application/json");
                let body = serde_json::to_vec(body).map_err(told)?;
                self.agent.run(asked.body(body).map_err(told)?)
            }
            None => self.agent.run(asked.body(()).map_err(told)?),
        };
        let mut answer = answer.map_err(told)?;
        let seconds = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = seconds.and_then(|text| text.trim().parse().ok());
        let body = answer.body_mut().with_config().limit(ANSWER_MOST).read_to_vec().map_err(told)?;
        Ok(Reply { status: answer.status().as_u16(), retry_after, body })
    }
}

fn told(error: impl ToString) -> String {
    error.to_string()
}
