//! The paths of the API. What can be asked of each stands in the table of [`operations`](crate::operations).

use crate::query::decode;

/// A path of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Route {
    Health,
    OpenApi,
    Watchers,
    Login,
    RefreshToken,
    WatcherSelf,
    Heartbeat,
    Alerts,
    Alert,
    Decisions,
    Decision,
    Stream,
    Events,
    Snapshot,
    UsageMetrics,
    Allowlists,
    Allowlist,
    AllowlistItems,
    AllowlistCheck,
    AllowlistCheckOne,
    Bouncers,
    Bouncer,
    Machines,
    Machine,
    MachineValidate,
}

impl Route {
    /// The route of a path as it was sent, and its parameter, decoded.
    pub(crate) fn find(path: &str) -> Option<(Route, String)> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let route = match parts.as_slice() {
            ["health"] => Route::Health,
            ["openapi.json"] => Route::OpenApi,
            ["v1", "watchers"] => Route::Watchers,
            ["v1", "watchers", "login"] => Route::Login,
            ["v1", "watchers", "self"] => Route::WatcherSelf,
            ["v1", "refresh_token"] => Route::RefreshToken,
            ["v1", "heartbeat"] => Route::Heartbeat,
            ["v1", "alerts"] => Route::Alerts,
            ["v1", "decisions"] => Route::Decisions,
            ["v1", "decisions", "stream"] => Route::Stream,
            ["v1", "decisions", "events"] => Route::Events,
            ["v1", "decisions", "snapshot"] => Route::Snapshot,
            ["v1", "usage-metrics"] => Route::UsageMetrics,
            ["v1", "allowlists"] => Route::Allowlists,
            ["v1", "allowlists", "check"] => Route::AllowlistCheck,
            ["v1", "testudo", "bouncers"] => Route::Bouncers,
            ["v1", "testudo", "machines"] => Route::Machines,
            ["v1", "alerts", last] => return parameter(Route::Alert, last),
            ["v1", "decisions", last] => return parameter(Route::Decision, last),
            ["v1", "allowlists", "check", last] => return parameter(Route::AllowlistCheckOne, last),
            ["v1", "allowlists", last] => return parameter(Route::Allowlist, last),
            ["v1", "allowlists", name, "items"] => return parameter(Route::AllowlistItems, name),
            ["v1", "testudo", "bouncers", last] => return parameter(Route::Bouncer, last),
            ["v1", "testudo", "machines", last] => return parameter(Route::Machine, last),
            ["v1", "testudo", "machines", name, "validate"] => {
                return parameter(Route::MachineValidate, name);
            }
            _ => return None,
        };
        Some((route, String::new()))
    }

    /// Its path as metrics name it.
    pub(crate) fn template(self) -> &'static str {
        match self {
            Route::Health => "/health",
            Route::OpenApi => "/openapi.json",
            Route::Watchers => "/v1/watchers",
            Route::Login => "/v1/watchers/login",
            Route::RefreshToken => "/v1/refresh_token",
            Route::WatcherSelf => "/v1/watchers/self",
            Route::Heartbeat => "/v1/heartbeat",
            Route::Alerts => "/v1/alerts",
            Route::Alert => "/v1/alerts/:alert_id",
            Route::Decisions => "/v1/decisions",
            Route::Decision => "/v1/decisions/:decision_id",
            Route::Stream => "/v1/decisions/stream",
            Route::Events => "/v1/decisions/events",
            Route::Snapshot => "/v1/decisions/snapshot",
            Route::UsageMetrics => "/v1/usage-metrics",
            Route::Allowlists => "/v1/allowlists",
            Route::Allowlist => "/v1/allowlists/:allowlist_name",
            Route::AllowlistItems => "/v1/allowlists/:allowlist_name/items",
            Route::AllowlistCheck => "/v1/allowlists/check",
            Route::AllowlistCheckOne => "/v1/allowlists/check/:ip_or_range",
            Route::Bouncers => "/v1/testudo/bouncers",
            Route::Bouncer => "/v1/testudo/bouncers/:bouncer_name",
            Route::Machines => "/v1/testudo/machines",
            Route::Machine => "/v1/testudo/machines/:machine_name",
            Route::MachineValidate => "/v1/testudo/machines/:machine_name/validate",
        }
    }
}

fn parameter(route: Route, text: &str) -> Option<(Route, String)> {
    Some((route, decode(text, false))).filter(|(_, text)| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found() {
        let check = |path: &str, expected: Option<(Route, &str)>| {
            let found = Route::find(path);
            assert_eq!(found.as_ref().map(|(route, text)| (*route, text.as_str())), expected, "{path}");
        };
        check("/health", Some((Route::Health, "")));
        check("/v1/alerts", Some((Route::Alerts, "")));
        check("/v1/alerts/", None);
        check("/v1/alerts/12", Some((Route::Alert, "12")));
        check("/v1/alerts/12/x", None);
        check("/v1/decisions/stream", Some((Route::Stream, "")));
        check("/v1/decisions/7", Some((Route::Decision, "7")));
        check("/v1/allowlists/check/10.0.0.0%2F24", Some((Route::AllowlistCheckOne, "10.0.0.0/24")));
        check("/v1/allowlists/check/items", Some((Route::AllowlistCheckOne, "items")));
        check("/v1/allowlists/a%20b", Some((Route::Allowlist, "a b")));
        check("/v1/allowlists/a%2Fb/items", Some((Route::AllowlistItems, "a/b")));
        check("/v1/allowlists//items", None);
        check("/v1/testudo/machines/x/validate", Some((Route::MachineValidate, "x")));
        check("/v2/alerts", None);
        check("/", None);
        check("", None);
        check("//v1/alerts", None);
    }
}
