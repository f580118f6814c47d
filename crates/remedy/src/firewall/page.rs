//! Metrics, as Prometheus reads them: the names of the bouncers of the ecosystem, and our own.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::usage::FAMILIES;
use crate::backend::{Backend, Traffic};
use crate::enforcer::Enforcer;

/// Before listening is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(10);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The page as it is.
#[derive(Clone, Default)]
pub(crate) struct Page(Arc<Mutex<Bytes>>);

impl Page {
    pub(crate) fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    fn get(&self) -> Bytes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves the page at `/metrics` of a place such as `127.0.0.1:60601`, as soon as it can be listened there.
pub(crate) async fn serve(place: String, page: Page) {
    let mut is_told = false;
    let listener = loop {
        match TcpListener::bind(&place).await {
            Ok(listener) => break listener,
            Err(error) if !is_told => {
                is_told = true;
                tracing::warn!(%error, place, "metrics cannot be served yet");
            }
            Err(_) => {}
        }
        tokio::time::sleep(BIND_AGAIN).await;
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open, or the peer is gone already.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let page = page.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &page);
                async { Ok::<_, Infallible>(response) }
            });
            // Whoever goes away in the middle has what there was.
            let _ =
                http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(request: &Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    let is_it = request.uri().path() == "/metrics";
    let mut response =
        Response::new(Full::new(if is_it { page.get() } else { Bytes::from("see /metrics\n") }));
    if !is_it {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// One of two numbers.
type Pick = fn((u64, u64)) -> u64;

fn packets((packets, _): (u64, u64)) -> u64 {
    packets
}

fn bytes((_, bytes): (u64, u64)) -> u64 {
    bytes
}

/// The page. No label is an address.
pub(super) fn text<B: Backend>(enforcer: &Enforcer<B>, traffic: &Traffic, is_api_reachable: bool) -> String {
    let mut out = String::new();
    family(&mut out, "fw_bouncer_banned_ips", "gauge", "Decisions that are held.");
    for (group, counts) in enforcer.groups().all().iter().zip(enforcer.held().counts()) {
        for (kind, count) in FAMILIES.iter().zip(counts) {
            line(
                &mut out,
                "fw_bouncer_banned_ips",
                &[("origin", &group.to_string()), ("ip_type", kind)],
                *count,
            );
        }
    }
    for (name, help, pick) in [
        ("fw_bouncer_dropped_packets", "Packets that were denied.", packets as Pick),
        ("fw_bouncer_dropped_bytes", "Bytes that were denied.", bytes),
    ] {
        family(&mut out, name, "counter", help);
        for (group, count) in enforcer.groups().all().iter().zip(&traffic.denied) {
            for (kind, count) in FAMILIES.iter().zip(count) {
                line(&mut out, name, &[("origin", &group.to_string()), ("ip_type", kind)], pick(*count));
            }
        }
    }
    for (name, help, pick) in [
        ("fw_bouncer_processed_packets", "Packets that were looked at.", packets as Pick),
        ("fw_bouncer_processed_bytes", "Bytes that were looked at.", bytes),
    ] {
        family(&mut out, name, "counter", help);
        for (kind, count) in FAMILIES.iter().zip(&traffic.processed) {
            line(&mut out, name, &[("ip_type", kind)], pick(*count));
        }
    }
    let counts = enforcer.counts();
    let own: [(&str, &str, &str, u64); 8] = [
        (
            "testudo_firewall_expected_elements",
            "gauge",
            "Elements that should be in force.",
            enforcer.expected() as u64,
        ),
        ("testudo_firewall_api_reachable", "gauge", "Whether the API answers.", u64::from(is_api_reachable)),
        ("testudo_firewall_audited_total", "counter", "Elements that audits asked for.", counts.audited),
        (
            "testudo_firewall_drifted_total",
            "counter",
            "Elements that were not as they should be.",
            counts.drifted,
        ),
        ("testudo_firewall_repaired_total", "counter", "Elements that were put back.", counts.repaired),
        (
            "testudo_firewall_replaced_total",
            "counter",
            "Times that everything was put into force anew.",
            counts.replaced,
        ),
        (
            "testudo_firewall_failed_total",
            "counter",
            "Changes that the packet filter did not make.",
            counts.failed,
        ),
        ("testudo_firewall_decisions", "gauge", "Decisions that are held.", enforcer.held().len() as u64),
    ];
    for (name, kind, help, value) in own {
        family(&mut out, name, kind, help);
        line(&mut out, name, &[], value);
    }
    if let Some(enforced) = enforcer.enforced() {
        let name = "testudo_firewall_enforced_ratio";
        family(
            &mut out,
            name,
            "gauge",
            "Share of the elements of the last round of the audit that were right.",
        );
        // Writing to a text cannot fail.
        let _ = writeln!(out, "{name} {enforced}");
    }
    out
}

/// The head of a metric.
pub(crate) fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A line of a metric.
pub(crate) fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> =
        labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{name}{labels} {value}");
}
