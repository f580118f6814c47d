//! Answers that wait for somebody else: captcha providers, providers of OpenID Connect, the file of second factors.

use bytes::Bytes;
use hyper::Response;

use super::Service;
use crate::{
    gate::{Asked, Random},
    mfa::Looked,
    moment::Moment,
    page,
    provider::Told,
    visit::Visit,
};

/// The answer to a challenge.
pub(super) async fn take(
    visit: &Visit<'_>,
    body: Option<&[u8]>,
    random: Random,
    service: &Service,
) -> Response<Bytes> {
    let told = match service.gate.question(visit, body, Moment::now(service.start)) {
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
    service.gate.answer_told(visit, body, told.as_ref(), Moment::now(service.start), random)
}

/// A code of a second factor.
pub(super) async fn code(
    visit: &Visit<'_>,
    body: Option<&[u8]>,
    random: Random,
    service: &Service,
) -> Response<Bytes> {
    let gate = &service.gate;
    let now = Moment::now(service.start);
    let (attempt, looked) = match gate.attempt(visit, body, &*service.decisions, now, random) {
        Ok(attempt) => attempt,
        Err(response) => return *response,
    };
    let result = match looked {
        Looked::Known(is_right) => (is_right, false),
        Looked::Recovery(recovery) => {
            (service.outside.run(move |_| recovery.spend()).await.unwrap_or(false), true)
        }
    };
    gate.attempted(visit, &attempt, result, Moment::now(service.start), random)
}

/// The way to a provider of OpenID Connect.
pub(super) async fn login(
    visit: &Visit<'_>,
    body: Option<&[u8]>,
    random: Random,
    service: &Service,
) -> Response<Bytes> {
    let gate = &service.gate;
    let now = Moment::now(service.start);
    let login = match gate.begin_login(visit, body, &*service.decisions, now, random) {
        Ok(login) => login,
        Err(response) => return *response,
    };
    let directory = std::sync::Arc::clone(&service.directory);
    let asked = service.outside.run(move |caller| (login.describe(caller, &directory, now), login)).await;
    match asked {
        Ok((described, login)) => {
            gate.send_to_provider(visit, &login, &described, Moment::now(service.start), random)
        }
        Err(_) => busy(visit),
    }
}

/// The way back from it.
pub(super) async fn back(visit: &Visit<'_>, random: Random, service: &Service) -> Response<Bytes> {
    let gate = &service.gate;
    let now = Moment::now(service.start);
    let query = visit.target.split_once('?').map_or("", |(_, query)| query);
    let returned = match gate.returned(visit, query, now, random) {
        Ok(returned) => returned,
        Err(response) => return *response,
    };
    let directory = std::sync::Arc::clone(&service.directory);
    let asked = service.outside.run(move |caller| (returned.claims(caller, &directory, now), returned)).await;
    match asked {
        Ok((claims, returned)) => {
            let now = Moment::now(service.start);
            gate.logged_in(visit, &returned, claims, &*service.decisions, now, random)
        }
        Err(_) => busy(visit),
    }
}

/// Too many ask somebody else at once.
fn busy(visit: &Visit<'_>) -> Response<Bytes> {
    let facts = page::Facts { decision: None, contact: None };
    page::notice(visit, page::Notice::Unavailable, facts)
}
