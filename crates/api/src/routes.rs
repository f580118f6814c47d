//! The table of what can be asked: paths, methods, who may, and how much may be sent.

use hyper::Method;

use crate::query::decode;

/// A path of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Route {
    Health,
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
    AllowlistCheck,
    AllowlistCheckOne,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everyone.
    Anyone,
    /// Machines with a token.
    Machine,
    /// Bouncers with a key or a certificate.
    Bouncer,
    /// Either of the two.
    Either,
}

/// The largest body of a registration or login: whoever sends it is not known yet.
const SMALL: usize = 2 << 20;

/// The largest body of anything else.
const LARGE: usize = 50 << 20;

impl Route {
    /// The route of a path as it was sent, and the parameter at its end, decoded.
    pub(crate) fn find(path: &str) -> Option<(Route, String)> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let route = match parts.as_slice() {
            ["health"] => Route::Health,
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
            ["v1", "alerts", last] => return parameter(Route::Alert, last),
            ["v1", "decisions", last] => return parameter(Route::Decision, last),
            ["v1", "allowlists", "check", last] => return parameter(Route::AllowlistCheckOne, last),
            ["v1", "allowlists", last] => return parameter(Route::Allowlist, last),
            _ => return None,
        };
        Some((route, String::new()))
    }

    /// Its path as metrics name it.
    pub(crate) fn template(self) -> &'static str {
        match self {
            Route::Health => "/health",
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
            Route::AllowlistCheck => "/v1/allowlists/check",
            Route::AllowlistCheckOne => "/v1/allowlists/check/:ip_or_range",
        }
    }

    /// The methods that it answers.
    pub(crate) fn methods(self) -> &'static [Method] {
        const GET: &[Method] = &[Method::GET];
        const READ: &[Method] = &[Method::GET, Method::HEAD];
        const POST: &[Method] = &[Method::POST];
        const DELETE: &[Method] = &[Method::DELETE];
        match self {
            Route::Health | Route::RefreshToken | Route::Heartbeat | Route::Allowlists => GET,
            Route::Events | Route::Snapshot => GET,
            // The check of many shares its path with the list of that name.
            Route::AllowlistCheck => &[Method::GET, Method::POST],
            Route::Allowlist => GET,
            Route::Watchers | Route::Login | Route::UsageMetrics => POST,
            Route::WatcherSelf | Route::Decision => DELETE,
            Route::Alerts => &[Method::GET, Method::HEAD, Method::POST, Method::DELETE],
            Route::Alert | Route::Decisions => &[Method::GET, Method::HEAD, Method::DELETE],
            Route::Stream | Route::AllowlistCheckOne => READ,
        }
    }

    /// Who may ask for it so.
    pub(crate) fn access(self, method: &Method) -> Access {
        match self {
            Route::Health | Route::Watchers | Route::Login | Route::RefreshToken => Access::Anyone,
            Route::Decisions if method == Method::DELETE => Access::Machine,
            Route::Decisions | Route::Stream | Route::Events | Route::Snapshot => Access::Bouncer,
            Route::UsageMetrics => Access::Either,
            _ => Access::Machine,
        }
    }

    /// How many bytes a body may have; `None` when it is not looked at.
    pub(crate) fn body_limit(self, method: &Method) -> Option<usize> {
        match self {
            Route::Watchers | Route::Login => Some(SMALL),
            Route::Alerts if method == Method::DELETE => Some(SMALL),
            _ if method == Method::POST => Some(LARGE),
            _ => None,
        }
    }

    /// Whether it is answered from memory alone.
    pub(crate) fn is_quick(self, method: &Method) -> bool {
        match self {
            Route::Health | Route::Heartbeat | Route::RefreshToken => true,
            Route::Stream | Route::Snapshot => true,
            Route::Allowlists | Route::Allowlist | Route::AllowlistCheckOne => true,
            Route::Decisions => method != Method::DELETE,
            _ => false,
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
        check("/v1/allowlists/a%20b", Some((Route::Allowlist, "a b")));
        check("/v2/alerts", None);
        check("/", None);
        check("", None);
        check("//v1/alerts", None);
    }
}
