//! Answers that wait for somebody else: captcha providers, providers of OpenID Connect, the file of second factors.

use bytes::Bytes;
use hyper::{Response, body::Incoming, http::request::Parts};

use super::{
    Service,
    answer::{no_random, random, read, visit},
};
use crate::{
    address::Peer,
    gate::Asked,
    mfa::Looked,
    moment::Moment,
    provider::Told,
    visit::{Visit, Way},
};

/// The answer to a challenge.
pub(super) async fn take(parts: &Parts, body: Incoming, peer: Peer, service: &Service) -> Response<Bytes> {
    let body = read(body, service.gate.max_body()).await;
    let Some(random) = random() else { return no_random() };
    let visit = match visit(Way::Own, parts, peer, service) {
        Ok(visit) => visit,
        Err(untold) => return service.gate.untold(untold),
    };
    let told = match service.gate.question(&visit, body.as_deref(), Moment::now(service.start)) {
        None => None,
        Some(Asked::Known(told)) => Some(told),
        Some(Asked::Ask(question)) => {
            let policy = question.policy().clone();
            match service.outside.run(move |caller| question.ask(caller)).await {
                Ok(told) => {
                    service.gate.heard(&policy, &told, Moment::now(service.start));
                    Some(told)
                }
                Err(_) => Some(Told::Busy),
            }
        }
    };
    service.gate.answer_told(&visit, body.as_deref(), told.as_ref(), Moment::now(service.start), random)
}

/// A code of a second factor.
pub(super) async fn code(parts: &Parts, body: Incoming, peer: Peer, service: &Service) -> Response<Bytes> {
    let body = read(body, service.gate.max_body()).await;
    let Some(random) = random() else { return no_random() };
    let visit = match visit(Way::Own, parts, peer, service) {
        Ok(visit) => visit,
        Err(untold) => return service.gate.untold(untold),
    };
    let gate = &service.gate;
    let now = Moment::now(service.start);
    let (attempt, looked) = match gate.attempt(&visit, body.as_deref(), &*service.decisions, now, random) {
        Ok(attempt) => attempt,
        Err(response) => return *response,
    };
    let result = match looked {
        Looked::Known(is_right) => (is_right, false),
        Looked::Recovery(recovery) => {
            (service.outside.run(move |_| recovery.spend()).await.unwrap_or(false), true)
        }
    };
    gate.attempted(&visit, &attempt, result, Moment::now(service.start), random)
}

/// The way to a provider of OpenID Connect.
pub(super) async fn login(parts: &Parts, body: Incoming, peer: Peer, service: &Service) -> Response<Bytes> {
    let body = read(body, service.gate.max_body()).await;
    let Some(random) = random() else { return no_random() };
    let visit = match visit(Way::Own, parts, peer, service) {
        Ok(visit) => visit,
        Err(untold) => return service.gate.untold(untold),
    };
    let gate = &service.gate;
    let now = Moment::now(service.start);
    let login = match gate.begin_login(&visit, body.as_deref(), &*service.decisions, now, random) {
        Ok(login) => login,
        Err(response) => return *response,
    };
    let directory = std::sync::Arc::clone(&service.directory);
    let asked = service.outside.run(move |caller| (login.describe(caller, &directory, now), login)).await;
    match asked {
        Ok((described, login)) => {
            gate.send_to_provider(&visit, &login, &described, Moment::now(service.start), random)
        }
        Err(_) => busy(&visit),
    }
}

/// The way back from it.
pub(super) async fn back(parts: &Parts, peer: Peer, service: &Service) -> Response<Bytes> {
    let Some(random) = random() else { return no_random() };
    let visit = match visit(Way::Own, parts, peer, service) {
        Ok(visit) => visit,
        Err(untold) => return service.gate.untold(untold),
    };
    let gate = &service.gate;
    let now = Moment::now(service.start);
    let query = parts.uri.query().unwrap_or_default();
    let returned = match gate.returned(&visit, query, now, random) {
        Ok(returned) => returned,
        Err(response) => return *response,
    };
    let directory = std::sync::Arc::clone(&service.directory);
    let asked = service.outside.run(move |caller| (returned.claims(caller, &directory, now), returned)).await;
    match asked {
        Ok((claims, returned)) => {
            let now = Moment::now(service.start);
            gate.logged_in(&visit, &returned, claims, &*service.decisions, now, random)
        }
        Err(_) => busy(&visit),
    }
}

/// Too many ask somebody else at once.
fn busy(visit: &Visit<'_>) -> Response<Bytes> {
    let facts = crate::page::Facts { decision: None, contact: None };
    crate::page::notice(visit, crate::page::Notice::Unavailable, facts)
}
