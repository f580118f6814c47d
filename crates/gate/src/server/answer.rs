//! Answers to one request.

use std::{net::IpAddr, time::Duration, time::Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    http::request::Parts,
};
use serde_json::json;

use super::{Service, confirm, envoy, peers};
use crate::{
    address::Peer,
    form,
    gate::{Random, Verdict},
    identity::User,
    moment::Moment,
    page, path,
    visit::{Untold, Visit, Way},
};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a body that are read and dropped: a web server that cannot send all of it may show an error of its own
/// instead of the gate's answer.
const MAX_DROPPED: usize = 64 << 20;

/// Answers a request.
pub(super) async fn answer(request: Request<Incoming>, peer: Peer, service: &Service) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    match path {
        "/auth" => check(&parts, peer, service),
        "/page" => show(&parts, body, peer, service).await,
        "/gate" => check_and_show(&parts, body, peer, service).await,
        "/forward" => forward(&parts, body, peer, service).await,
        peers::PATH if parts.method == Method::POST => peers::hear(body, service).await,
        _ if path.starts_with(envoy::HTTP_PATH) => envoy::answer_http(&parts, body, peer, service).await,
        _ if path.starts_with(page::OWN_PATH) => come(&parts, body, peer, service).await,
        "/check" | "/metrics" | "/health" if parts.method != Method::GET && parts.method != Method::HEAD => {
            page::plain(StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n")
        }
        "/check" | "/metrics" if !service.gate.with_policy(|policy| peer.is_trusted(&policy.proxies)) => {
            page::plain(StatusCode::FORBIDDEN, "only for peers in `trusted_proxies`\n")
        }
        "/check" => report(&parts, service),
        "/metrics" => metrics(service),
        "/health" if service.decisions.is_ready() => page::plain(StatusCode::OK, "ready\n"),
        "/health" => page::plain(StatusCode::SERVICE_UNAVAILABLE, "no decisions yet\n"),
        _ => page::plain(StatusCode::NOT_FOUND, "not a path of the gate\n"),
    }
}

/// The check of a web server that asks for the page separately.
fn check(parts: &Parts, peer: Peer, service: &Service) -> Response<Bytes> {
    let start = Instant::now();
    let answer = match visit(Way::Original, parts, peer, service) {
        Ok(visit) => {
            let verdict = service.gate.check(&visit, &*service.decisions, Moment::now(service.start));
            service.gate.brief(&verdict)
        }
        Err(untold) => service.gate.untold(untold),
    };
    service.gate.metrics().took(start.elapsed());
    answer
}

/// The page after such a check.
async fn show(parts: &Parts, body: Incoming, peer: Peer, service: &Service) -> Response<Bytes> {
    let body = read(body, service.gate.max_body()).await;
    let Some(random) = random() else { return no_random() };
    match visit(Way::Original, parts, peer, service) {
        Ok(visit) => {
            let now = Moment::now(service.start);
            service.gate.page(&visit, body.as_deref(), &*service.decisions, now, random)
        }
        Err(untold) => service.gate.untold(untold),
    }
}

/// Check and page in one, for a web server that hands on the request as it came.
async fn check_and_show(parts: &Parts, body: Incoming, peer: Peer, service: &Service) -> Response<Bytes> {
    let body = read(body, service.gate.max_body()).await;
    let start = Instant::now();
    let answer = match visit(Way::Original, parts, peer, service) {
        Ok(visit) => decide(&visit, body.as_deref(), service),
        Err(untold) => service.gate.untold(untold),
    };
    service.gate.metrics().took(start.elapsed());
    answer
}

/// Check and page in one, for a web server that asks in a request of its own.
async fn forward(parts: &Parts, body: Incoming, peer: Peer, service: &Service) -> Response<Bytes> {
    let body = read(body, service.gate.max_body()).await;
    let start = Instant::now();
    let answer = match visit(Way::Forwarded, parts, peer, service) {
        Ok(visit) => {
            // An empty body was most likely not handed on: it is lost, unless there is none.
            let has_none = matches!(&*visit.method, "GET" | "HEAD");
            let body = body.as_deref().filter(|body| has_none || !body.is_empty());
            decide(&visit, body, service)
        }
        Err(untold) => service.gate.untold(untold),
    };
    service.gate.metrics().took(start.elapsed());
    answer
}

/// Check and answer in one: 200 for who may pass, else the page. `body` is what the visitor sent; none where it is not here.
pub(super) fn decide(visit: &Visit<'_>, body: Option<&[u8]>, service: &Service) -> Response<Bytes> {
    let verdict = service.gate.check(visit, &*service.decisions, Moment::now(service.start));
    if verdict.passes() {
        return service.gate.brief(&verdict);
    }
    refuse(visit, body, &verdict, service)
}

/// The answer to a visitor who may not pass. `body` as for [`decide`].
pub(super) fn refuse(
    visit: &Visit<'_>,
    body: Option<&[u8]>,
    verdict: &Verdict,
    service: &Service,
) -> Response<Bytes> {
    // The system is asked for random numbers only where there is a page.
    let Some(random) = random() else { return no_random() };
    service.gate.refusal(visit, body, verdict, Moment::now(service.start), random)
}

/// The answer to a request below the gate's own path.
pub(super) async fn own(visit: &Visit<'_>, body: Option<&[u8]>, service: &Service) -> Response<Bytes> {
    let Some(random) = random() else { return no_random() };
    match (path::path_of(&visit.target), &*visit.method) {
        (page::ANSWER_PATH, "POST") => confirm::take(visit, body, random, service).await,
        (page::CODE_PATH, "POST") => confirm::code(visit, body, random, service).await,
        (page::LOGIN_PATH, "POST") => confirm::login(visit, body, random, service).await,
        (page::LOGIN_PATH, "GET") => confirm::back(visit, random, service).await,
        // Who comes here otherwise has followed a link, or reloads.
        _ => page::home(),
    }
}

/// The answer to a request below the gate's own path, as a web server hands it on.
async fn come(parts: &Parts, body: Incoming, peer: Peer, service: &Service) -> Response<Bytes> {
    let visit = match visit(Way::Own, parts, peer, service) {
        Ok(visit) => visit,
        Err(untold) => return service.gate.untold(untold),
    };
    let Some(_place) = service.room.enter(visit.address) else {
        return page::plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many answers are on their way; try again\n",
        );
    };
    let body = read(body, service.gate.max_body()).await;
    own(&visit, body.as_deref(), service).await
}

/// What an application asks about an address or a user.
fn report(parts: &Parts, service: &Service) -> Response<Bytes> {
    let fields = form::fields(parts.uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let field = |name: &str, default: &'static str| form::only(&fields, name).unwrap_or(default).to_owned();
    let (address, user) = (field("ip", ""), field("user", ""));
    let (address, user) = (
        (!address.is_empty()).then(|| address.parse::<IpAddr>()),
        (!user.is_empty()).then(|| User::new(&user)),
    );
    let (address, user) = match (address, user) {
        (None, None) | (Some(Err(_)), _) | (_, Some(None)) => {
            let message = "name an address, a user, or both: /check?ip=192.0.2.1&user=alice, and `host`, `method` and `target` where the policy asks for them";
            return page::json(StatusCode::BAD_REQUEST, &json!({ "error": "address", "message": message }));
        }
        (address, user) => (address.and_then(Result::ok), user.flatten()),
    };
    let request = (&*field("method", "GET"), &*field("target", "/"));
    let now = Moment::now(service.start);
    let found =
        service.gate.report((address, user.as_ref()), &field("host", ""), request, &*service.decisions, now);
    page::json(StatusCode::OK, &found)
}

fn metrics(service: &Service) -> Response<Bytes> {
    let mut response = page::plain(StatusCode::OK, service.gate.metrics_text());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub(super) fn visit<'p>(
    way: Way,
    parts: &'p Parts,
    peer: Peer,
    service: &Service,
) -> Result<Visit<'p>, Untold> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let request = (parts.method.as_str(), target);
    service.gate.with_policy(|policy| Visit::read(way, peer, policy, request, &parts.headers))
}

/// The body of a request; none if it is too large, too slow or broken.
pub(super) async fn read(mut body: Incoming, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Some(Vec::new());
    let mut total = 0;
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let Some(data) = frame.data_ref() else { continue };
            total += data.len();
            if total > MAX_DROPPED {
                return false;
            }
            bytes = bytes.take().filter(|_| total <= most);
            if let Some(bytes) = &mut bytes {
                bytes.extend_from_slice(data);
            }
        }
        true
    };
    let is_whole = tokio::time::timeout(BODY_TIMEOUT, reading).await.unwrap_or(false);
    bytes.filter(|_| is_whole)
}

fn random() -> Option<Random> {
    let mut random = Random { challenge: [0; 16], nonce: [0; 16] };
    getrandom::fill(&mut random.challenge).ok()?;
    getrandom::fill(&mut random.nonce).ok()?;
    Some(random)
}

fn no_random() -> Response<Bytes> {
    page::plain(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no random numbers\n")
}
