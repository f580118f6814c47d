//! Machines: who they are, by the token that they show.

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, COOKIE};

use crate::answer::Refusal;
use crate::config::covers;
use crate::request::{Ask, PeerCertificate};
use crate::service::Service;
use crate::token::{self, Claims, TokenError};

/// The name of a machine or bouncer with a certificate.
pub(crate) fn certificate_name(certificate: &PeerCertificate, ask: &Ask) -> String {
    format!("{}@{}", certificate.common_name, ask.client)
}

/// Whether a certificate is of one of these organisational units.
pub(crate) fn has_unit(certificate: &PeerCertificate, allowed: &[String]) -> bool {
    certificate.organizational_units.iter().any(|unit| allowed.contains(unit))
}

/// The token of a request: of its header, else of its cookie.
fn token_of(ask: &Ask) -> Option<&str> {
    let bearer = ask.header(&AUTHORIZATION).strip_prefix("Bearer ").map(str::trim);
    let cookies = ask.header(&COOKIE).split(';').filter_map(|pair| pair.trim().strip_prefix("jwt="));
    bearer.into_iter().chain(cookies).find(|token| !token.is_empty())
}

fn refused(error: TokenError) -> Refusal {
    match error {
        TokenError::NoEnd => Refusal::bad(error.to_string()),
        error => Refusal::unauthorized(error.to_string()),
    }
}

/// The claims of a token, whether it has ended or not.
pub(crate) fn claims(service: &Service, ask: &Ask) -> Result<Claims, Refusal> {
    let token = token_of(ask).ok_or_else(|| Refusal::unauthorized("cookie token is empty"))?;
    token::read(service.secret(), token).map_err(refused)
}

/// The name of the machine that asks: its token is good, and it may still log in.
pub(crate) fn authenticate(service: &Service, ask: &Ask) -> Result<String, Refusal> {
    let token = token_of(ask).ok_or_else(|| Refusal::unauthorized("cookie token is empty"))?;
    let claims = token::verify(service.secret(), token, ask.now_ms.div_euclid(1000)).map_err(refused)?;
    still_good(service, &claims.id)?;
    Ok(claims.id)
}

/// Whether a machine exists and is validated.
pub(crate) fn still_good(service: &Service, name: &str) -> Result<(), Refusal> {
    match service.store().machines().get(name) {
        Some(machine) if machine.validated => Ok(()),
        _ => Err(Refusal::unauthorized(format!("machine {name} not validated"))),
    }
}

/// Only the machine itself, and the addresses that are trusted, delete and administer.
pub(crate) fn trusted(service: &Service, ask: &Ask) -> Result<(), Refusal> {
    if ask.client.is_loopback() || covers(&service.config().trusted_ips, ask.client) {
        return Ok(());
    }
    let message = format!("access forbidden from this IP ({})", ask.client);
    Err(Refusal::new(StatusCode::FORBIDDEN, message))
}
