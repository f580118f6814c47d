//! Changes as they happen.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use testudo_store::{Filter, Side, Since, StreamOptions};
use testudo_wire::stream::StreamBody;

use super::*;
use crate::events::{Hub, Listening};

/// A listener over a socket.
struct Ear(BufReader<TcpStream>);

#[derive(Debug, PartialEq, Eq)]
struct Heard {
    event: String,
    id: String,
    data: String,
}

impl Ear {
    fn new(api: &Api, parameters: &str, last: &str) -> Ear {
        let mut stream = TcpStream::connect(api.address).expect("connected");
        let head = format!(
            "GET /v1/decisions/events{parameters} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {KEY}\r\nUser-Agent: testudo/1\r\nAccept-Encoding: zstd\r\n{last}\r\n"
        );
        stream.write_all(head.as_bytes()).expect("written");
        let mut ear = Ear(BufReader::new(stream));
        assert_eq!(ear.line(), "HTTP/1.1 200 OK");
        let mut headers = Vec::new();
        loop {
            match ear.line() {
                line if line.is_empty() => break,
                line => headers.push(line),
            }
        }
        assert!(headers.iter().any(|header| header == "content-type: text/event-stream"), "{headers:?}");
        assert!(!headers.iter().any(|header| header.starts_with("content-encoding")), "{headers:?}");
        ear
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// The next event; each comes in a chunk of its own.
    fn next(&mut self) -> Heard {
        let mut heard = Heard { event: String::new(), id: String::new(), data: String::new() };
        loop {
            let line = self.line();
            match line.split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut heard.event),
                Some(("id", id)) => id.clone_into(&mut heard.id),
                Some(("data", data)) => {
                    data.clone_into(&mut heard.data);
                    return heard;
                }
                _ => assert!(!line.is_empty() || heard.event.is_empty(), "{heard:?}"),
            }
        }
    }

    /// What the next event tells, as [`Api::stream`] does; and the position that is reached.
    fn told(&mut self) -> (Vec<String>, String) {
        let heard = self.next();
        assert_eq!(heard.event, "decisions");
        let body: serde_json::Value = serde_json::from_str(&heard.data).expect("JSON");
        let side = |name: &str, sign: &str| -> Vec<String> {
            let items = body[name].as_array().expect("an array").iter();
            items.map(|item| format!("{sign}{}", item["value"].as_str().expect("a value"))).collect()
        };
        ([side("new", "+"), side("deleted", "-")].concat(), heard.id)
    }
}

#[test]
fn what_changes_is_told() {
    let api = Api::start();
    api.ban(&["ban 192.0.2.1"]);
    let mut ear = Ear::new(&api, "", "");
    let first = ear.next();
    assert_eq!((first.event.as_str(), first.data), ("position", format!(r#"{{"cursor":"{}"}}"#, first.id)));
    let mut other = Ear::new(&api, "?types=*&scopes=ip,country&origins=lists", "");
    other.next();
    api.ban(&["ban 192.0.2.2 1h lists one", "throttle 192.0.2.3 4h lists one", "ban NL 4h lists one"]);
    assert_eq!(ear.told().0, ["+192.0.2.2"]);
    assert_eq!(other.told().0, ["+192.0.2.2", "+192.0.2.3", "+NL"]);
    // Nothing for these, then something.
    api.ban(&["throttle 192.0.2.4"]);
    api.machine("DELETE", "/v1/decisions?ip=192.0.2.1", "");
    assert_eq!(ear.told().0, ["-192.0.2.1"]);
    // Time passes.
    api.pass(HOUR);
    assert_eq!(ear.told().0, ["-192.0.2.2"]);
    assert_eq!(other.told().0, ["-192.0.2.2"]);
    assert_eq!(api.service.gauges().listeners, 2);
}

#[test]
fn listening_goes_on_where_it_was() {
    let api = Api::start();
    let first = Ear::new(&api, "", "").next().id;
    let values: Vec<String> = (0..5000).map(|n| format!("ban 10.0.{}.{}", n / 250, n % 250)).collect();
    api.ban(&values.iter().map(String::as_str).collect::<Vec<_>>());
    api.ban(&["ban 192.0.2.1"]);
    api.machine("DELETE", "/v1/decisions?ip=10.0.0.0", "");
    let mut ear = Ear::new(&api, &format!("?since={first}"), "");
    let here = ear.next();
    assert_eq!((here.event.as_str(), &here.id), ("position", &first));
    // It is much, and comes in parts; only the last one says how far it is.
    let mut all = Vec::new();
    let reached = loop {
        let (mut told, id) = ear.told();
        all.append(&mut told);
        if !id.is_empty() {
            break id;
        }
    };
    assert_eq!((all.len(), all.last().map(String::as_str)), (5001, Some("-10.0.0.0")));
    api.ban(&["ban 192.0.2.2"]);
    // What was told may be told once more.
    while !ear.told().0.contains(&"+192.0.2.2".to_owned()) {}
    let mut ear = Ear::new(&api, "?since=0-0", &format!("Last-Event-ID: {reached}\r\n"));
    ear.next();
    assert_eq!(ear.told().0, ["+192.0.2.2"]);
    // A position that is none, one of the future, one that is too old: all begin anew from here.
    for bad in ["x", "999-0", "0-9999999999999", "0--5"] {
        let mut ear = Ear::new(&api, &format!("?since={bad}"), "");
        let heard = ear.next();
        assert_eq!(heard.event, "reset", "{bad}");
        assert!(heard.data.contains(&heard.id));
    }
}

#[test]
fn who_may_not_listen() {
    let api = Api::start();
    assert_eq!(api.ask("GET", "/v1/decisions/events", &[], b"").status, 403);
    assert_eq!(api.machine("GET", "/v1/decisions/events", "").status, 403);
    assert_eq!(api.bouncer("HEAD", "/v1/decisions/events").status, 405);
    assert_eq!(api.bouncer("GET", "/v1/decisions/events?ip=foo").status, 400);
}

fn listen(api: &Api, bouncer: &str) -> Listening {
    Hub::listen(&api.service, bouncer, Filter::default(), StreamOptions::default(), None)
        .unwrap_or_else(|_| panic!("it is not let in"))
}

/// Everything that waits for a listener, and whether that was the end.
fn waiting(listening: &mut Listening) -> (Vec<bytes::Bytes>, bool) {
    let mut all = Vec::new();
    loop {
        match listening.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(event)) => all.push(event),
            Poll::Ready(None) => return (all, true),
            Poll::Pending => return (all, false),
        }
    }
}

#[test]
fn listeners_share_what_they_are_told() {
    let api = Api::start();
    let mut listeners: Vec<Listening> = (0..500).map(|_| listen(&api, "fw")).collect();
    let values: Vec<String> = (0..1000).map(|n| format!("ban 10.0.{}.{}", n / 250, n % 250)).collect();
    api.ban(&values.iter().map(String::as_str).collect::<Vec<_>>());
    while !api.service.events().turn(&api.service, false) {}
    let told: Vec<_> = listeners.iter_mut().map(|listening| waiting(listening).0).collect();
    assert_eq!(told[0].len(), 2);
    assert!(told[0][1].len() > 100_000);
    assert!(told.iter().all(|events| events[1].as_ptr() == told[0][1].as_ptr()));
}

#[test]
fn the_slow_and_the_unknown_are_let_go() {
    let api = Api::start();
    let turn = |is_beat| api.service.events().turn(&api.service, is_beat);
    let (mut slow, mut quick) = (listen(&api, "fw"), listen(&api, "fw"));
    for n in 0..70 {
        api.ban(&[&format!("ban 192.0.2.{n}")]);
        turn(false);
        waiting(&mut quick);
    }
    let (events, is_over) = waiting(&mut slow);
    // The first says where it stands; of the others as many as may wait.
    assert_eq!((events.len(), is_over), (65, true));
    assert_eq!(waiting(&mut quick), (Vec::new(), false));
    // A bouncer that is gone hears no more, nor does one that has listened for long.
    let mut gone = listen(&api, "nobody");
    turn(true);
    assert!(waiting(&mut gone).1);
    assert!(!waiting(&mut quick).1);
    for _ in 0..240 {
        turn(true);
        waiting(&mut quick);
    }
    assert!(waiting(&mut quick).1);
    assert_eq!(api.service.events().listeners(), 0);
}

#[test]
fn the_end_of_the_server_ends_listening() {
    let mut api = Api::start();
    let mut ear = Ear::new(&api, "", "");
    ear.next();
    if let Some(stop) = api.stop.take() {
        let _ = stop.send(());
    }
    // The last chunk is there: nothing was cut off.
    let mut last = String::new();
    while ear.0.read_line(&mut last).expect("a line") > 0 {}
    assert!(last.ends_with("0\r\n\r\n"), "{last}");
}

/// What a client does that listens, and is told everything that it missed.
struct Follower {
    listening: Listening,
    last: String,
    /// Type and value of everything that it holds.
    held: BTreeSet<(String, String)>,
}

impl Follower {
    fn start(service: &Arc<Service>) -> Follower {
        let last = String::new();
        let mut follower = Follower { listening: hear(service, None), last, held: BTreeSet::new() };
        follower.take();
        // Everything is fetched after the first event.
        let index = service.store().index(service.now_ms());
        let mut all = index.stream(asked(), StreamOptions::default(), Since::Start(None));
        index.page(&mut all, usize::MAX, |side, view, _| {
            if side == Side::New {
                follower.held.insert((view.label().kind.to_owned(), view.value()));
            }
        });
        follower
    }

    fn take(&mut self) {
        for event in waiting(&mut self.listening).0 {
            let text = std::str::from_utf8(&event).expect("UTF-8");
            for line in text.lines() {
                match line.split_once(": ") {
                    Some(("id", id)) => id.clone_into(&mut self.last),
                    Some(("event", name)) => assert!(matches!(name, "position" | "decisions"), "{text}"),
                    Some(("data", data)) if data.starts_with("{\"new\"") => self.apply(data),
                    _ => {}
                }
            }
        }
    }

    fn apply(&mut self, data: &str) {
        let body: StreamBody = serde_json::from_str(data).expect("JSON");
        for gone in body.deleted {
            self.held.remove(&(gone.kind, gone.value));
        }
        self.held.extend(body.new.into_iter().map(|new| (new.kind, new.value)));
    }
}

/// Everything but what other filters leave out.
fn asked() -> Filter {
    Filter { types_not: vec!["allow".to_owned()], ..Filter::default() }
}

fn hear(service: &Arc<Service>, since: Option<&str>) -> Listening {
    Hub::listen(service, "fw", asked(), StreamOptions::default(), since)
        .unwrap_or_else(|_| panic!("it is not let in"))
}

/// The other node has not yet seen what the first one told, and its clock is behind.
#[test]
fn who_listens_carries_on_at_another_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let clocks = [START + 5 * SECOND, START].map(|at| Arc::new(AtomicI64::new(at)));
    let [one, other] = clocks.each_ref().map(|clock| open(folder.path(), clock, Config::default()));
    super::rendered::push(&one, START, &[(1, 3600, 0), (2, 3600, 0), (3, 3600, 0)]);
    let mut follower = Follower::start(&one);
    super::rendered::push(&one, START, &[(4, 3600, 0)]);
    one.events().turn(&one, false);
    follower.take();
    let filter = Filter { value: Some("192.0.2.2".to_owned()), ..Filter::default() };
    one.store().end_matching(&filter, START).expect("ended");
    follower.listening = hear(&other, Some(&follower.last));
    follower.take();
    assert_eq!(follower.held.len(), 3);
    assert_eq!(follower.held, Follower::start(&other).held);
}

#[derive(Clone, Debug)]
enum Step {
    /// Bans an address for so many tens of seconds.
    Ban(u8, u8),
    Lift(u8),
    /// Ten seconds pass.
    Pass,
    Tell,
    Take,
    Return,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..4, 1_u8..4).prop_map(|(address, tens)| Step::Ban(address, tens)),
        1 => (0_u8..4).prop_map(Step::Lift),
        2 => Just(Step::Pass),
        1 => Just(Step::Tell),
        1 => Just(Step::Take),
        1 => Just(Step::Return),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn who_listens_holds_what_is_in_force(steps in prop::collection::vec(step(), 0..25), late in 0_usize..25) {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(AtomicI64::new(START));
        let service = open(folder.path(), &clock, Config::default());
        let now = || clock.load(Ordering::Relaxed);
        let mut follower = None;
        for (at, step) in steps.into_iter().enumerate() {
            if at == late {
                follower = Some(Follower::start(&service));
            }
            match step {
                Step::Ban(address, tens) => {
                    let stop_at = testudo_event::Timestamp::from_unix(now() / 1000, 0);
                    let nanos = i64::from(tens) * 10_000_000_000;
                    let decision = testudo_event::Decision {
                        kind: if address == 3 { "captcha" } else { "ban" }.to_owned(),
                        scope: "Ip".to_owned(),
                        value: format!("192.0.2.{}", address / 2),
                        origin: if tens == 2 { "lists" } else { "cscli" }.to_owned(),
                        duration_ns: nanos,
                        until: stop_at.add_nanos(nanos),
                        ..Default::default()
                    };
                    let alert = testudo_event::Alert { stop_at, decisions: vec![decision], ..Default::default() };
                    service.push("x", vec![alert], now()).expect("taken");
                }
                Step::Lift(address) => {
                    let value = Some(format!("192.0.2.{}", address / 2));
                    let filter = Filter { value, ..Filter::default() };
                    service.store().end_matching(&filter, now()).expect("ended");
                }
                Step::Pass => {
                    clock.fetch_add(10 * SECOND, Ordering::Relaxed);
                }
                Step::Tell => {
                    service.events().turn(&service, false);
                }
                Step::Take => follower.iter_mut().for_each(Follower::take),
                Step::Return => {
                    if let Some(follower) = &mut follower {
                        follower.take();
                        follower.listening = hear(&service, Some(&follower.last));
                    }
                }
            }
        }
        let mut follower = follower.unwrap_or_else(|| Follower::start(&service));
        // Time that has passed is seen by whoever looks.
        drop(service.store().index(now()));
        service.events().turn(&service, false);
        follower.take();
        prop_assert_eq!(follower.held, Follower::start(&service).held);
    }
}
