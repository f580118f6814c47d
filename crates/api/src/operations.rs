//! The table of what can be asked: of each path with each method, who may, how much may be sent, and what is
//! answered. Requests are let in by it, and the description of the API is made of it.

use hyper::Method;

use crate::handlers::{
    ALERT_PARAMETERS, DELETE_PARAMETERS, EVENT_PARAMETERS, LIST_PARAMETERS, STREAM_PARAMETERS,
};
use crate::routes::Route;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everyone.
    Anyone,
    /// Machines with a token.
    Machine,
    /// Machines with a token that ask from a trusted address.
    TrustedMachine,
    /// Bouncers with a key or a certificate.
    Bouncer,
    /// Machines or bouncers.
    Either,
}

/// The methods that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Head,
    Post,
    Delete,
}

impl Verb {
    fn of(method: &Method) -> Option<Verb> {
        match *method {
            Method::GET => Some(Verb::Get),
            Method::HEAD => Some(Verb::Head),
            Method::POST => Some(Verb::Post),
            Method::DELETE => Some(Verb::Delete),
            _ => None,
        }
    }

    /// Its name in descriptions.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Head => "head",
            Verb::Post => "post",
            Verb::Delete => "delete",
        }
    }
}

/// What an answer or a request holds; names are those of schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    /// An object.
    One(&'static str),
    /// An array of objects.
    Many(&'static str),
    /// An array, or `null` when there is nothing.
    ManyOrNull(&'static str),
    /// An array of numbers as texts.
    Numbers,
    /// Any JSON document.
    Json,
    /// Server-sent events.
    Events,
    /// The binary snapshot.
    Snapshot,
}

/// Something that can be asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) route: Route,
    pub(crate) verb: Verb,
    pub(crate) access: Access,
    /// One sentence for people.
    pub(crate) summary: &'static str,
    /// Its parameters behind the `?`.
    pub(crate) query: &'static [&'static str],
    /// What has to be sent.
    pub(crate) body: Content,
    /// How many bytes a body may have; `None` when it is not looked at.
    pub(crate) limit: Option<usize>,
    /// The answers when all is well; refusals follow from the access.
    pub(crate) answers: &'static [(u16, Content)],
    /// Whether it is answered from memory alone.
    pub(crate) is_quick: bool,
}

impl Operation {
    /// What is asked; `None` when the path does not answer the method.
    pub(crate) fn find(route: Route, method: &Method) -> Option<&'static Operation> {
        let verb = Verb::of(method)?;
        OPERATIONS.iter().find(|operation| operation.route == route && operation.verb == verb)
    }

    const fn quick(mut self) -> Operation {
        self.is_quick = true;
        self
    }

    const fn query(mut self, query: &'static [&'static str]) -> Operation {
        self.query = query;
        self
    }

    const fn takes(mut self, body: Content, limit: usize) -> Operation {
        self.body = body;
        self.limit = Some(limit);
        self
    }

    const fn gives(mut self, answers: &'static [(u16, Content)]) -> Operation {
        self.answers = answers;
        self
    }
}

const fn operation(route: Route, verb: Verb, access: Access, summary: &'static str) -> Operation {
    Operation {
        route,
        verb,
        access,
        summary,
        query: &[],
        body: Content::Nothing,
        limit: None,
        answers: &[(200, Content::Nothing)],
        is_quick: false,
    }
}

const fn get(route: Route, access: Access, summary: &'static str) -> Operation {
    operation(route, Verb::Get, access, summary)
}

const fn head(route: Route, access: Access, summary: &'static str) -> Operation {
    operation(route, Verb::Head, access, summary)
}

const fn post(route: Route, access: Access, summary: &'static str) -> Operation {
    operation(route, Verb::Post, access, summary)
}

const fn delete(route: Route, access: Access, summary: &'static str) -> Operation {
    operation(route, Verb::Delete, access, summary).gives(&[(200, Content::One("Deleted"))])
}

/// The largest body of a registration or login: whoever sends it is not known yet.
const SMALL: usize = 2 << 20;

/// The largest body of anything else.
const LARGE: usize = 50 << 20;

use Access::{Anyone, Bouncer, Either, Machine, TrustedMachine};
use Content::{Many, ManyOrNull, Nothing, Numbers, One};

/// Everything that can be asked.
pub(crate) static OPERATIONS: &[Operation] = &[
    get(Route::Health, Anyone, "Whether the API is there").quick().gives(&[(200, One("Health"))]),
    get(Route::OpenApi, Anyone, "This description").quick().gives(&[(200, Content::Json)]),
    post(Route::Watchers, Anyone, "A machine registers; 202 when it may log in at once")
        .takes(One("Registration"), SMALL)
        .gives(&[(201, Nothing), (202, Nothing)]),
    post(Route::Login, Anyone, "A machine logs in, by password or certificate")
        .takes(One("Login"), SMALL)
        .gives(&[(200, One("Token"))]),
    get(Route::RefreshToken, Anyone, "A new token for one that was made less than an hour ago")
        .quick()
        .gives(&[(200, One("Token"))]),
    delete(Route::WatcherSelf, Machine, "The machine that asks takes its leave").gives(&[(204, Nothing)]),
    get(Route::Heartbeat, Machine, "The machine that asks is alive").quick(),
    get(Route::Alerts, Machine, "Alerts, the newest first")
        .query(ALERT_PARAMETERS)
        .gives(&[(200, ManyOrNull("Alert"))]),
    head(Route::Alerts, Machine, "As GET, without the alerts").query(ALERT_PARAMETERS),
    post(Route::Alerts, Machine, "Reports alerts; those without decisions are decided about here")
        .takes(Many("PostedAlert"), LARGE)
        .gives(&[(201, Numbers)]),
    delete(Route::Alerts, TrustedMachine, "Deletes alerts; their decisions end")
        .query(ALERT_PARAMETERS)
        .takes(Nothing, SMALL),
    get(Route::Alert, Machine, "One alert").gives(&[(200, One("Alert"))]),
    head(Route::Alert, Machine, "Whether there is such an alert"),
    delete(Route::Alert, TrustedMachine, "Deletes an alert; its decisions end"),
    get(Route::Decisions, Bouncer, "Decisions in force")
        .quick()
        .query(LIST_PARAMETERS)
        .gives(&[(200, ManyOrNull("Decision")), (304, Nothing)]),
    head(Route::Decisions, Bouncer, "Whether the key is good").quick().query(LIST_PARAMETERS),
    delete(Route::Decisions, Machine, "Ends decisions").query(DELETE_PARAMETERS),
    delete(Route::Decision, Machine, "Ends a decision"),
    get(Route::Stream, Bouncer, "What has changed since the last poll")
        .quick()
        .query(STREAM_PARAMETERS)
        .gives(&[(200, One("Changes")), (304, Nothing)]),
    head(Route::Stream, Bouncer, "Whether the key is good").quick().query(STREAM_PARAMETERS),
    get(Route::Events, Bouncer, "What changes, as it happens: server-sent events")
        .query(EVENT_PARAMETERS)
        .gives(&[(200, Content::Events)]),
    get(Route::Snapshot, Bouncer, "Decisions in force, in a compact binary form")
        .quick()
        .query(STREAM_PARAMETERS)
        .gives(&[(200, Content::Snapshot), (304, Nothing)]),
    post(Route::UsageMetrics, Either, "What a bouncer or an agent says about itself")
        .takes(One("UsageMetrics"), LARGE)
        .gives(&[(201, Nothing)]),
    get(Route::Allowlists, Machine, "All allowlists")
        .quick()
        .query(&["with_content"])
        .gives(&[(200, Many("Allowlist"))]),
    post(Route::Allowlists, TrustedMachine, "Makes an allowlist")
        .takes(One("NewAllowlist"), LARGE)
        .gives(&[(201, Nothing)]),
    get(Route::Allowlist, Machine, "One allowlist")
        .quick()
        .query(&["with_content"])
        .gives(&[(200, One("Allowlist"))]),
    delete(Route::Allowlist, TrustedMachine, "Deletes an allowlist"),
    post(Route::AllowlistItems, TrustedMachine, "Puts items on an allowlist; decisions about them end")
        .takes(One("NewItems"), LARGE)
        .gives(&[(201, One("AddedItems"))]),
    delete(Route::AllowlistItems, TrustedMachine, "Takes items off an allowlist").query(&["value"]),
    // The check of many shares its path with the list of that name.
    get(Route::AllowlistCheck, Machine, "The allowlist of that name")
        .query(&["with_content"])
        .gives(&[(200, One("Allowlist"))]),
    post(Route::AllowlistCheck, Machine, "Which of many addresses and ranges are allowed")
        .takes(One("BulkCheck"), LARGE)
        .gives(&[(200, One("BulkCheckAnswer"))]),
    get(Route::AllowlistCheckOne, Machine, "Whether an address or range is allowed")
        .quick()
        .gives(&[(200, One("CheckAnswer"))]),
    head(Route::AllowlistCheckOne, Machine, "As GET: 200 when it is allowed, 204 when not")
        .quick()
        .gives(&[(200, Nothing), (204, Nothing)]),
    get(Route::Bouncers, TrustedMachine, "All bouncers").gives(&[(200, Many("ListedBouncer"))]),
    post(Route::Bouncers, TrustedMachine, "Makes a bouncer; its key is told this once")
        .takes(One("NewBouncer"), LARGE)
        .gives(&[(201, One("MadeBouncer"))]),
    delete(Route::Bouncer, TrustedMachine, "Deletes a bouncer, with the rows of its key"),
    get(Route::Machines, TrustedMachine, "All machines").gives(&[(200, Many("ListedMachine"))]),
    post(Route::Machines, TrustedMachine, "Makes a machine that may log in; its password is told this once")
        .takes(One("NewMachine"), LARGE)
        .gives(&[(201, One("MadeMachine"))]),
    delete(Route::Machine, TrustedMachine, "Deletes a machine"),
    post(Route::MachineValidate, TrustedMachine, "Lets a machine log in").gives(&[(204, Nothing)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_path_and_method() {
        for (at, operation) in OPERATIONS.iter().enumerate() {
            let path = operation.route.template().replace(':', "");
            let route = Route::find(&path).map(|(route, _)| route);
            assert_eq!(route, Some(operation.route), "{path}");
            let method: Method = operation.verb.name().to_uppercase().parse().expect("a method");
            let found = Operation::find(operation.route, &method).expect("it is there");
            assert!(std::ptr::eq(found, &raw const OPERATIONS[at]), "{path} twice");
        }
        assert!(Operation::find(Route::Health, &Method::HEAD).is_none());
        assert!(Operation::find(Route::Alerts, &Method::PUT).is_none());
    }
}
