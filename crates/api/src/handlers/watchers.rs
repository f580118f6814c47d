//! Registration, login and heartbeats of machines.

use hyper::StatusCode;
use hyper::header::USER_AGENT;
use subtle::ConstantTimeEq as _;
use testudo_store::{Machine, StoreError};
use testudo_wire::body;
use testudo_wire::watcher::{Login, Registration, Token};

use crate::answer::{self, Answered, Refusal};
use crate::config::covers;
use crate::instant;
use crate::keys;
use crate::machines::{certificate_name, claims, has_unit, still_good};
use crate::passwords::{hash_password, verify_password};
use crate::request::{Ask, PeerCertificate};
use crate::service::Service;
use crate::token::{self, Claims, LIFETIME_SECS};

use super::read;

const WITH_PASSWORD: &str = "password";
const WITH_CERTIFICATE: &str = "tls";

/// POST /v1/watchers: a machine makes itself known.
pub(super) fn register(service: &Service, ask: &Ask) -> Answered {
    let config = service.config();
    if config.local_registration_only && !ask.client.is_loopback() {
        return Err(Refusal::forbidden());
    }
    let registration: Registration = read(ask)?;
    let invalid =
        |problem: testudo_wire::Invalid| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, problem.to_string());
    registration.check().map_err(invalid)?;
    let mut validated = false;
    let token = registration.registration_token.as_deref().filter(|token| !token.is_empty());
    if let (Some(auto), Some(token)) = (&config.auto_registration, token) {
        if !bool::from(auto.token.as_bytes().ct_eq(token.as_bytes())) {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "invalid token for auto registration"));
        }
        if !covers(&auto.ranges, ask.client) {
            let message = "IP not in allowed range for auto registration";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
        }
        validated = true;
    }
    let name = registration.machine_id.unwrap_or_default();
    let taken = || Refusal::new(StatusCode::FORBIDDEN, format!("user '{name}': user already exist"));
    if service.store().machines().get(&name).is_some() {
        return Err(taken());
    }
    let password = registration.password.unwrap_or_default();
    let password = hash_password(&password)
        .map_err(|error| Refusal::bad(format!("hashing the password of '{name}': {error}")))?;
    let machine = Machine {
        name: name.clone(),
        password,
        auth_type: WITH_PASSWORD.to_owned(),
        validated,
        ip: ask.client.to_string(),
        created_ms: ask.now_ms,
        updated_ms: ask.now_ms,
        ..Machine::default()
    };
    match service.store().machines().insert(machine) {
        Err(StoreError::Exists { .. }) => return Err(taken()),
        other => other?,
    };
    tracing::info!(machine = name, validated, "a machine has registered");
    Ok(answer::empty(if validated { StatusCode::ACCEPTED } else { StatusCode::CREATED }))
}

/// POST /v1/watchers/login: a machine gets a token.
pub(super) fn login(service: &Service, ask: &Ask) -> Answered {
    let (login, machine) = match &ask.certificate {
        Some(certificate) => by_certificate(service, ask, certificate)?,
        None => by_password(service, ask)?,
    };
    if !machine.validated {
        return Err(Refusal::unauthorized(format!("machine {} not validated", machine.name)));
    }
    let address = ask.client.to_string();
    if machine.ip != address && !machine.ip.is_empty() {
        tracing::warn!(
            machine = machine.name,
            before = machine.ip,
            now = address,
            "a machine has another address"
        );
    }
    let agent = ask.header(&USER_AGENT).to_owned();
    let version = agent.split_once('/').map(|(_, version)| version).filter(|version| !version.contains('/'));
    service.store().machines().touch(&machine.name, |machine| {
        if !login.scenarios.is_empty() {
            machine.scenarios = login.scenarios.join(",");
        }
        machine.ip.clone_from(&address);
        if let Some(version) = version {
            version.clone_into(&mut machine.version);
        }
        machine.updated_ms = ask.now_ms;
    });
    issue(service, ask, &machine.name)
}

fn wrong() -> Refusal {
    Refusal::unauthorized("incorrect Username or Password")
}

fn by_password(service: &Service, ask: &Ask) -> Result<(Login, Machine), Refusal> {
    let login: Login =
        body::read(&ask.body).map_err(|error| Refusal::unauthorized(format!("missing: {error}")))?;
    login.check().map_err(|invalid| Refusal::unauthorized(invalid.to_string()))?;
    let name = login.machine_id.as_deref().unwrap_or_default();
    let password = login.password.as_deref().unwrap_or_default();
    let mut machine = service.store().machines().get(name);
    if !machine.as_ref().is_some_and(|machine| machine.validated) {
        // A command may have added or accepted it a moment ago.
        service.store().follow(ask.now_ms)?;
        machine = service.store().machines().get(name);
    }
    let stored = match &machine {
        Some(machine) if machine.auth_type == WITH_PASSWORD => machine.password.as_str(),
        // As slow as a wrong password, so that nobody learns which machines there are.
        _ => service.no_password(),
    };
    let is_right = verify_password(password, stored);
    let machine = machine.ok_or_else(wrong)?;
    if machine.auth_type != WITH_PASSWORD {
        return Err(mixed(name, "password", "tls"));
    }
    if is_right { Ok((login, machine)) } else { Err(wrong()) }
}

fn mixed(name: &str, tried: &str, configured: &str) -> Refusal {
    Refusal::unauthorized(format!(
        "machine {name} attempted to auth with {tried} but it is configured to use {configured}"
    ))
}

fn by_certificate(
    service: &Service,
    ask: &Ask,
    certificate: &PeerCertificate,
) -> Result<(Login, Machine), Refusal> {
    let allowed = &service.config().agents_allowed_ou;
    if !has_unit(certificate, allowed) {
        let list = |units: &[String]| units.join(" ");
        return Err(Refusal::unauthorized(format!(
            "client certificate OU [{}] doesn't match expected OU [{}]",
            list(&certificate.organizational_units),
            list(allowed)
        )));
    }
    let login: Login = body::read(&ask.body).map_err(|error| {
        Refusal::unauthorized(format!("missing scenarios list in login request for TLS auth: {error}"))
    })?;
    let name = certificate_name(certificate, ask);
    let machine = match service.store().machines().get(&name) {
        Some(machine) if machine.auth_type == WITH_CERTIFICATE => machine,
        Some(_) => return Err(mixed(&name, "tls", "password")),
        None => {
            let password = keys::new_key()
                .and_then(|key| hash_password(&key).ok())
                .ok_or_else(|| Refusal::unauthorized("unable to hash"))?;
            service.store().machines().insert(Machine {
                name,
                password,
                auth_type: WITH_CERTIFICATE.to_owned(),
                validated: true,
                ip: ask.client.to_string(),
                created_ms: ask.now_ms,
                updated_ms: ask.now_ms,
                ..Machine::default()
            })?
        }
    };
    Ok((login, machine))
}

fn issue(service: &Service, ask: &Ask, name: &str) -> Answered {
    let now = ask.now_ms.div_euclid(1000);
    let claims = Claims { exp: now + LIFETIME_SECS, id: name.to_owned(), orig_iat: now };
    let token = token::sign(service.secret(), &claims).ok_or_else(wrong)?;
    let expire = instant(claims.exp.saturating_mul(1000)).to_rfc3339();
    Ok(answer::json(StatusCode::OK, &Token { code: 200, expire, token }))
}

/// GET /v1/refresh_token: a token for one that may have ended, if it was made less than an hour ago.
pub(super) fn refresh(service: &Service, ask: &Ask) -> Answered {
    let claims = claims(service, ask)?;
    if ask.now_ms.div_euclid(1000) >= claims.orig_iat.saturating_add(LIFETIME_SECS) {
        return Err(Refusal::unauthorized("Token is expired"));
    }
    still_good(service, &claims.id)?;
    issue(service, ask, &claims.id)
}

/// DELETE /v1/watchers/self: a machine takes its leave.
pub(super) fn unregister(service: &Service, name: &str) -> Answered {
    service.store().machines().delete(name)?;
    tracing::info!(machine = name, "a machine has unregistered");
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// GET /v1/heartbeat: a machine is alive.
pub(super) fn heartbeat(service: &Service, name: &str, ask: &Ask) -> Answered {
    service.store().machines().touch(name, |machine| machine.last_heartbeat_ms = Some(ask.now_ms));
    Ok(answer::empty(StatusCode::OK))
}
