//! What is done about each route.

mod admin;
mod alerts;
mod allowlists;
mod decisions;
mod push;
mod usage;
mod watchers;

pub(crate) use alerts::PARAMETERS as ALERT_PARAMETERS;
pub(crate) use decisions::{DELETE_PARAMETERS, EVENT_PARAMETERS, LIST_PARAMETERS, STREAM_PARAMETERS};

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use testudo_wire::body;

use crate::answer::{self, Answered, Refusal};
use crate::openapi;
use crate::request::Ask;
use crate::routes::Route;
use crate::service::{Caller, Service};

/// Answers a request of one who was let in.
pub(crate) fn handle(service: &Arc<Service>, route: Route, caller: &Caller, ask: &Ask) -> Answered {
    let method = &ask.method;
    match route {
        // Answered before anything else is looked at.
        Route::Health => Ok(answer::empty(StatusCode::OK)),
        Route::Watchers => watchers::register(service, ask),
        Route::Login => watchers::login(service, ask),
        Route::RefreshToken => watchers::refresh(service, ask),
        Route::WatcherSelf => watchers::unregister(service, caller.machine()),
        Route::Heartbeat => watchers::heartbeat(service, caller.machine(), ask),
        Route::Alerts if method == Method::POST => push::post(service, caller.machine(), ask),
        Route::Alerts if method == Method::DELETE => alerts::delete_many(service, ask),
        Route::Alerts => alerts::list(service, ask),
        Route::Alert if method == Method::DELETE => alerts::delete_one(service, ask),
        Route::Alert => alerts::one(service, ask),
        Route::Decisions if method == Method::DELETE => decisions::delete_many(service, ask),
        Route::Decisions => decisions::list(service, caller.bouncer(), ask),
        Route::Decision => decisions::delete_one(service, ask),
        Route::Stream => decisions::stream(service, caller.bouncer(), ask),
        Route::Events => decisions::events(service, caller.bouncer(), ask),
        Route::Snapshot => decisions::snapshot(service, caller.bouncer(), ask),
        Route::UsageMetrics => usage::post(service, caller, ask),
        Route::OpenApi => Ok(answer::json_text(StatusCode::OK, openapi::document())),
        Route::Allowlists if method == Method::POST => admin::make_allowlist(service, ask),
        Route::Allowlists => Ok(allowlists::list(service, ask)),
        Route::AllowlistItems if method == Method::POST => admin::add_items(service, ask),
        Route::AllowlistItems => admin::delete_items(service, ask),
        Route::AllowlistCheck if method == Method::POST => allowlists::check_many(service, ask),
        Route::AllowlistCheck => allowlists::one(service, "check", ask),
        Route::Allowlist if method == Method::DELETE => admin::delete_allowlist(service, ask),
        Route::Allowlist => allowlists::one(service, &ask.parameter, ask),
        Route::AllowlistCheckOne => allowlists::check_one(service, ask),
        Route::Bouncers if method == Method::POST => admin::make_bouncer(service, ask),
        Route::Bouncers => Ok(admin::list_bouncers(service)),
        Route::Bouncer => admin::delete_bouncer(service, ask),
        Route::Machines if method == Method::POST => admin::make_machine(service, ask),
        Route::Machines => Ok(admin::list_machines(service)),
        Route::Machine => admin::delete_machine(service, ask),
        Route::MachineValidate => admin::validate_machine(service, ask),
    }
}

/// Reads the body of a request.
fn read<T: DeserializeOwned + Default>(ask: &Ask) -> Result<T, Refusal> {
    body::read(&ask.body).map_err(|error| Refusal::bad(error.to_string()))
}
