//! A server in memory that keeps to the rules of the API and fails as it is told; and the properties of lists, rules and
//! pairs against it: whatever fails and wherever it crashes, what is there is what is wanted in the end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::{Value, json};
use testudo_event::Prefix;

use crate::api::{Api, Method, Reply, Request, Transport};
use crate::budget::{Budget, Gauge};
use crate::decision::tests::decision;
use crate::decision::{Danger, net_of, net_text};
use crate::kv::{Store, StoreState};
use crate::lists::{ListPlan, ListState, Lists, Step};
use crate::plan::Chosen;
use crate::zones::{ZonePlan, ZoneState, Zones};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing.
    None,
    /// It never arrives.
    Before,
    /// It is done, and the answer is lost.
    After,
    /// It is done, and the answer is cut off.
    Cut,
    /// 500, and nothing is done.
    Server,
    /// 429, and nothing is done.
    Busy,
    /// It is taken, and the bulk operation fails.
    Fails,
}

/// A change on its way: after so many requests it is made, or fails.
struct Operation {
    polls: u32,
    list: String,
    add: Vec<(String, String)>,
    remove: Vec<String>,
    fails: bool,
}

/// Identity to network and comment.
type Items = BTreeMap<String, (String, String)>;

#[derive(Default)]
struct Inner {
    lists: BTreeMap<String, (String, String)>,
    items: BTreeMap<String, Items>,
    pending: Option<(String, Operation)>,
    over: BTreeMap<String, &'static str>,
    rules: Option<Vec<Value>>,
    pairs: BTreeMap<String, Value>,
    number: u64,
    faults: VecDeque<Fault>,
    /// What no client does that keeps to the rules.
    offences: Vec<String>,
    requests: Vec<String>,
    poison: BTreeSet<String>,
}

#[derive(Default)]
struct Server {
    inner: RefCell<Inner>,
    clock: Cell<u64>,
}

const PAGE: usize = 7;
const ACCOUNT: &str = "acc";

impl Inner {
    fn id(&mut self) -> String {
        self.number += 1;
        format!("id{}", self.number)
    }

    fn poll(&mut self) {
        let Some((id, operation)) = &mut self.pending else { return };
        if operation.polls > 0 {
            operation.polls -= 1;
            return;
        }
        let (id, operation) = (id.clone(), self.pending.take().expect("it is there").1);
        let there: BTreeSet<String> =
            self.items.get(&operation.list).into_iter().flatten().map(|(_, (ip, _))| ip.clone()).collect();
        let twice = operation.add.iter().any(|(ip, _)| there.contains(ip));
        if twice {
            self.offences.push("an item that is there already is added".to_owned());
        }
        let is_poisoned = operation.add.iter().any(|(ip, _)| self.poison.contains(ip));
        if operation.fails || twice || is_poisoned {
            self.over.insert(id, "failed");
            return;
        }
        for (ip, comment) in operation.add {
            let item = self.id();
            self.items.entry(operation.list.clone()).or_default().insert(item, (ip, comment));
        }
        let items = self.items.entry(operation.list).or_default();
        operation.remove.iter().for_each(|item| drop(items.remove(item)));
        self.over.insert(id, "completed");
    }

    fn answer(&mut self, request: &Request, fails: bool, now: u64) -> (u16, Value, Value) {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let parts: Vec<&str> = path.split('/').collect();
        let body = request.body.clone().unwrap_or_default();
        self.requests.push(format!("{:?} {path}", request.method));
        self.poll();
        let missing = (404, Value::Null, Value::Null);
        let good = |result: Value| (200, result, Value::Null);
        match (request.method, parts.as_slice()) {
            (Method::Get, ["accounts", _, "rules", "lists"]) => {
                let lists = self.lists.iter();
                good(lists.map(|(id, (name, about))| json!({"id": id, "name": name, "kind": "ip", "description": about})).collect())
            }
            (Method::Post, ["accounts", _, "rules", "lists"]) => {
                let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
                if self.lists.values().any(|(name, _)| *name == text("name")) {
                    return (400, Value::Null, Value::Null);
                }
                let id = self.id();
                self.lists.insert(id.clone(), (text("name"), text("description")));
                self.items.insert(id.clone(), Items::new());
                good(json!({ "id": id }))
            }
            (Method::Get, ["accounts", _, "rules", "lists", "bulk_operations", id]) => {
                match (&self.pending, self.over.get(*id)) {
                    (_, Some(status)) => {
                        good(json!({"id": id, "status": status, "error": "it does not fit"}))
                    }
                    (Some((pending, _)), None) if pending == id => {
                        good(json!({"id": id, "status": "running"}))
                    }
                    _ => missing,
                }
            }
            (Method::Get, ["accounts", _, "rules", "lists", id, "items"]) => {
                let Some(items) = self.items.get(*id) else { return missing };
                let search = query.get("search").unwrap_or(&"").replace("%2F", "/").replace("%3A", ":");
                let found: Vec<_> = items.iter().filter(|(_, (ip, _))| ip.contains(&search)).collect();
                let at: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().expect("a number"));
                let page = found.iter().skip(at).take(PAGE);
                let page: Value =
                    page.map(|(id, (ip, comment))| json!({"id": id, "ip": ip, "comment": comment})).collect();
                let next = (at + PAGE < found.len()).then(|| (at + PAGE).to_string());
                (200, page, json!({ "cursors": { "after": next } }))
            }
            (Method::Post | Method::Delete, ["accounts", _, "rules", "lists", id, "items"]) => {
                if self.pending.is_some() {
                    return (429, Value::Null, Value::Null);
                }
                if !self.items.contains_key(*id) {
                    return missing;
                }
                let listed = body.as_array().or(body["items"].as_array()).cloned().unwrap_or_default();
                let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
                let mut operation =
                    Operation { polls: 1, list: (*id).to_owned(), add: vec![], remove: vec![], fails };
                if request.method == Method::Post {
                    operation.add =
                        listed.iter().map(|item| (text(item, "ip"), text(item, "comment"))).collect();
                } else {
                    operation.remove = listed.iter().map(|item| text(item, "id")).collect();
                    if let Some(unknown) =
                        operation.remove.iter().find(|item| !self.items[*id].contains_key(*item))
                    {
                        self.offences.push(format!("{unknown} is removed, which is not there"));
                    }
                }
                if listed.is_empty() {
                    self.offences.push("an empty change".to_owned());
                }
                let id = self.id();
                self.pending = Some((id.clone(), operation));
                good(json!({ "operation_id": id }))
            }
            (Method::Get, ["zones", _, "rulesets", "phases", ..]) => match &self.rules {
                Some(rules) => good(json!({ "id": "set", "rules": rules })),
                None => missing,
            },
            (method, ["zones", _, "rulesets", rest @ ..]) => {
                let id = self.id();
                let rules = self.rules.get_or_insert_default();
                let known = rest.get(2).and_then(|id| rules.iter().position(|rule| rule["id"] == **id));
                match (method, known) {
                    (Method::Post, None) => {
                        let mut rule = if rest.is_empty() { body["rules"][0].clone() } else { body };
                        rule["id"] = json!(id);
                        rules.push(rule);
                    }
                    (Method::Delete, Some(at)) => drop(rules.remove(at)),
                    (Method::Patch, Some(at)) => {
                        for (key, value) in body.as_object().expect("a rule") {
                            rules[at][key] = value.clone();
                        }
                    }
                    _ => return missing,
                }
                let rules = rules.clone();
                good(json!({ "id": "set", "rules": rules }))
            }
            (Method::Get, ["accounts", _, "storage", .., "keys"]) => {
                let live = |pair: &Value| pair["expiration"].as_u64().is_none_or(|ends| ends > now / 1_000);
                self.pairs.retain(|_, pair| live(pair));
                let at: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().expect("a number"));
                let page: Value = self.pairs.values().skip(at).take(PAGE).map(|pair| {
                    json!({"name": pair["key"], "expiration": pair["expiration"], "metadata": pair["metadata"]})
                }).collect();
                let next = if at + PAGE < self.pairs.len() { (at + PAGE).to_string() } else { String::new() };
                (200, page, json!({ "cursor": next }))
            }
            (Method::Put, ["accounts", _, "storage", .., "bulk"]) => {
                let pairs = body.as_array().cloned().unwrap_or_default();
                let mut unwritten = Vec::new();
                for (at, pair) in pairs.iter().enumerate() {
                    if pair["expiration"].as_u64().is_some_and(|ends| ends <= now / 1_000 + 59) {
                        self.offences.push("an end that is too near".to_owned());
                    }
                    if fails && at % 2 == 0 {
                        unwritten.push(pair["key"].clone());
                    } else {
                        self.pairs.insert(pair["key"].as_str().unwrap_or_default().to_owned(), pair.clone());
                    }
                }
                good(json!({ "unsuccessful_keys": unwritten }))
            }
            (Method::Post, ["accounts", _, "storage", .., "bulk", "delete"]) => {
                for key in body.as_array().into_iter().flatten() {
                    self.pairs.remove(key.as_str().unwrap_or_default());
                }
                good(Value::Null)
            }
            _ => missing,
        }
    }
}

impl Transport for &Server {
    fn send(&self, request: &Request) -> Result<Reply, String> {
        let mut inner = self.inner.borrow_mut();
        let fault = inner.faults.pop_front().unwrap_or(Fault::None);
        let reply =
            |status, body: &Value| Reply { status, retry_after: None, body: body.to_string().into_bytes() };
        match fault {
            Fault::Before => return Err("it never arrived".to_owned()),
            Fault::Server => return Ok(reply(500, &Value::Null)),
            Fault::Busy => return Ok(reply(429, &Value::Null)),
            _ => {}
        }
        let (status, result, info) = inner.answer(request, fault == Fault::Fails, self.clock.get());
        let whole = json!({"success": status == 200, "result": result, "errors": [], "result_info": info});
        match fault {
            Fault::After => Err("the answer was lost".to_owned()),
            Fault::Cut => {
                let mut reply = reply(status, &whole);
                reply.body.truncate(reply.body.len() / 2);
                Ok(reply)
            }
            _ => Ok(reply(status, &whole)),
        }
    }
}

impl Server {
    fn api(&self) -> Api<&Server> {
        Api::new(self, Arc::new(Mutex::new(Gauge::new(vec![], Budget::default()))))
    }

    fn items(&self, name: &str) -> BTreeMap<Prefix, String> {
        let inner = self.inner.borrow();
        let list = inner.lists.iter().find(|(_, (known, _))| known == name).map(|(id, _)| id.clone());
        let items = list.and_then(|id| inner.items.get(&id).cloned()).unwrap_or_default();
        items.into_values().map(|(ip, comment)| (net_of(&ip).expect("a network"), comment)).collect()
    }
}

/// Something that works step by step and outlives a crash.
trait Worker {
    /// Does one thing; `Err` for what came to nothing.
    fn step(&mut self, api: &Api<&Server>, now: u64) -> Option<Step>;
    /// What is written to the disk.
    fn keep(&mut self);
    /// Begins anew with what was written last.
    fn crash(&mut self);
}

/// The longest time that is waited for something to do: more than an hour, after which refused items are tried again.
const LONG: u64 = 2 * 3_600_000;

/// Goes on until nothing is left to do.
fn settle(worker: &mut impl Worker, server: &Server) {
    settle_within(worker, server, LONG);
}

/// Goes on until nothing is left to do within a time.
fn settle_within(worker: &mut impl Worker, server: &Server, millis: u64) {
    for _ in 0..20_000 {
        match worker.step(&server.api(), server.clock.get()) {
            Some(Step::Idle) => return,
            Some(Step::Keep) => worker.keep(),
            Some(Step::Done) => {}
            Some(Step::Wait(until)) if until > server.clock.get() + millis => return,
            Some(Step::Wait(until)) => server.clock.set(until),
            None => server.clock.set(server.clock.get() + 100),
        }
    }
    panic!(
        "it does not settle: {:?}",
        server.inner.borrow().requests.iter().rev().take(20).collect::<Vec<_>>()
    );
}

fn some(worker: &mut impl Worker, server: &Server, steps: usize) {
    for _ in 0..steps {
        server.clock.set(server.clock.get() + 700);
        if worker.step(&server.api(), server.clock.get()) == Some(Step::Keep) {
            worker.keep();
        }
    }
}

struct ListWorker {
    lists: Lists,
    disk: String,
    wanted: Chosen,
    capacity: usize,
}

impl ListWorker {
    fn new(capacity: usize) -> Self {
        let mut worker = ListWorker {
            lists: lists(capacity, "{}"),
            disk: "{}".to_owned(),
            wanted: Chosen::default(),
            capacity,
        };
        worker.crash();
        worker
    }

    fn want(&mut self, lows: &BTreeSet<u8>) {
        let net = |low: &u8| (net_of(&format!("192.0.2.{low}")).expect("an address"), (Danger::Seen, 1_000));
        self.wanted.nets = lows.iter().map(net).collect();
        self.lists.want(0, &self.wanted);
    }
}

fn lists(capacity: usize, disk: &str) -> Lists {
    let known: BTreeMap<String, ListState> = serde_json::from_str(disk).expect("what was written");
    Lists::new(ACCOUNT.to_owned(), vec![ListPlan { name: "testudo_ban".to_owned(), capacity }], &known)
}

impl Worker for ListWorker {
    fn step(&mut self, api: &Api<&Server>, now: u64) -> Option<Step> {
        self.lists.step(api, now).ok()
    }

    fn keep(&mut self) {
        self.disk = serde_json::to_string(&self.lists.states()).expect("it is written");
    }

    fn crash(&mut self) {
        self.lists = lists(self.capacity, &self.disk);
        self.lists.want(0, &self.wanted);
    }
}

struct StoreWorker {
    store: Store,
    disk: StoreState,
    wanted: Vec<crate::decision::Decision>,
    now: u64,
}

impl StoreWorker {
    fn want(&mut self) {
        self.store.want(self.wanted.iter(), &["ban".to_owned(), "captcha".to_owned()], self.now, self.now);
    }
}

impl Worker for StoreWorker {
    fn step(&mut self, api: &Api<&Server>, now: u64) -> Option<Step> {
        self.now = now;
        self.want();
        self.store.step(api, now).ok()
    }

    fn keep(&mut self) {
        let text = serde_json::to_string(self.store.state()).expect("it is written");
        self.disk = serde_json::from_str(&text).expect("it is read");
    }

    fn crash(&mut self) {
        self.store = Store::new(ACCOUNT, "ns", self.disk.clone());
    }
}

struct ZoneWorker {
    zones: Zones,
    disk: BTreeMap<String, ZoneState>,
    plan: ZonePlan,
}

impl Worker for ZoneWorker {
    fn step(&mut self, api: &Api<&Server>, now: u64) -> Option<Step> {
        self.zones.want(vec![self.plan.clone()]);
        self.zones.step(api, now).ok()
    }

    fn keep(&mut self) {
        self.disk = self.zones.states();
    }

    fn crash(&mut self) {
        self.zones = Zones::new(&["z".to_owned()], &self.disk);
    }
}

#[derive(Clone, Debug)]
enum Move {
    Want(BTreeSet<u8>),
    Steps(usize),
    Faults(Vec<Fault>),
    Crash,
    Audit,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::None),
        Just(Fault::Before),
        Just(Fault::After),
        Just(Fault::Cut),
        Just(Fault::Server),
        Just(Fault::Busy),
        Just(Fault::Fails),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => proptest::collection::btree_set(0..40_u8, 0..30).prop_map(Move::Want),
        4 => (1..12_usize).prop_map(Move::Steps),
        2 => proptest::collection::vec(fault(), 1..6).prop_map(Move::Faults),
        1 => Just(Move::Crash),
        1 => Just(Move::Audit),
    ];
    proptest::collection::vec(one, 1..25)
}

/// What all workers have in common.
fn play(worker: &mut impl Worker, server: &Server, step: Move) {
    match step {
        Move::Steps(steps) => some(worker, server, steps),
        Move::Faults(faults) => server.inner.borrow_mut().faults.extend(faults),
        Move::Crash => worker.crash(),
        Move::Want(_) | Move::Audit => {}
    }
}

proptest! {
    /// The list holds what is wanted and what others have put in, and nothing was sent that is refused.
    #[test]
    fn lists_become_what_is_wanted(moves in moves()) {
        let server = Server::default();
        let mut worker = ListWorker::new(100);
        settle(&mut worker, &server);
        let list = server.inner.borrow().lists.keys().next().cloned().expect("a list");
        let theirs = ("192.0.2.7".to_owned(), "by hand".to_owned());
        server.inner.borrow_mut().items.entry(list).or_default().insert("theirs".to_owned(), theirs);
        worker.lists.audit();
        settle(&mut worker, &server);
        let mut is_lossy = false;
        for step in moves {
            is_lossy |= match &step {
                Move::Faults(faults) => faults.iter().any(|fault| [Fault::After, Fault::Cut].contains(fault)),
                Move::Crash => true,
                _ => false,
            };
            match step {
                Move::Want(lows) => worker.want(&lows),
                Move::Audit => worker.lists.audit(),
                other => play(&mut worker, &server, other),
            }
        }
        server.inner.borrow_mut().faults.clear();
        settle(&mut worker, &server);
        let mut wanted: BTreeSet<Prefix> = worker.wanted.nets.keys().copied().collect();
        wanted.insert(net_of("192.0.2.7").expect("an address"));
        let items = server.items("testudo_ban");
        prop_assert_eq!(items.keys().copied().collect::<BTreeSet<_>>(), wanted);
        prop_assert_eq!(items[&net_of("192.0.2.7").expect("an address")].as_str(), "by hand");
        let inner = server.inner.borrow();
        // What was sent before an answer was lost may be carried out after the list was read.
        prop_assert!(is_lossy || inner.offences.is_empty(), "{:?}", inner.offences);
        prop_assert_eq!(inner.lists.len(), 1);
    }

    /// The pairs are what is wanted, and those of others stay.
    #[test]
    fn pairs_become_what_is_wanted(moves in moves()) {
        let server = Server::default();
        let theirs = json!({"key": "192.0.2.7", "value": "theirs", "expiration": null, "metadata": null});
        server.inner.borrow_mut().pairs.insert("192.0.2.7".to_owned(), theirs.clone());
        let mut worker = StoreWorker {
            store: Store::new(ACCOUNT, "ns", StoreState::default()),
            disk: StoreState::default(),
            wanted: Vec::new(),
            now: 0,
        };
        for step in moves {
            match step {
                Move::Want(lows) => {
                    // Far ends, near ones, and networks.
                    let make = |low: &u8| match low % 5 {
                        0 => decision(i64::from(*low), &format!("192.0.2.{low}/31"), "ban", "cscli", u64::MAX / 4),
                        1 => decision(i64::from(*low), &format!("192.0.2.{low}"), "captcha", "CAPI", 90_000),
                        _ => decision(i64::from(*low), &format!("192.0.2.{low}"), "ban", "crowdsec", 1 << 40),
                    };
                    worker.wanted = lows.iter().map(make).collect();
                }
                Move::Audit => worker.store.audit(),
                other => play(&mut worker, &server, other),
            }
        }
        server.inner.borrow_mut().faults.clear();
        settle(&mut worker, &server);
        let seconds = server.clock.get() / 1_000;
        let inner = server.inner.borrow();
        let live = |pair: &&Value| pair["expiration"].as_u64().is_none_or(|ends| ends > seconds);
        let there: BTreeMap<&str, &str> = inner.pairs.values().filter(live).map(|pair| {
            (pair["key"].as_str().expect("a key"), pair["value"].as_str().expect("a value"))
        }).collect();
        prop_assert_eq!(&inner.pairs["192.0.2.7"], &theirs);
        let ranges: BTreeMap<String, String> =
            there.get("IP_RANGES").map_or_else(BTreeMap::new, |text| serde_json::from_str(text).expect("ranges"));
        for decision in &worker.wanted {
            let key = decision.subject.to_string();
            if key == "192.0.2.7" || decision.until_ms < server.clock.get() + 61_000 {
                continue;
            }
            let value = if key.contains('/') { ranges.get(&key).map(String::as_str) } else { there.get(key.as_str()).copied() };
            prop_assert_eq!(value, Some(&*decision.kind), "{}", key);
        }
        let keys: BTreeSet<String> = worker.wanted.iter().map(|decision| decision.subject.to_string()).collect();
        let is_known = |key: &&str| keys.contains(*key) || ["IP_RANGES", "192.0.2.7"].contains(key);
        prop_assert!(there.keys().all(is_known), "{:?}", there);
        prop_assert!(ranges.keys().all(|key| keys.contains(key)), "{:?}", ranges);
        prop_assert!(inner.offences.is_empty(), "{:?}", inner.offences);
    }

    /// Rules are as planned, in the end, and each is there once; those of others stay.
    #[test]
    fn rules_become_what_is_planned(moves in moves(), has_rules in any::<bool>()) {
        let server = Server::default();
        let theirs = json!({"id": "theirs", "ref": "mine", "action": "skip", "expression": "true", "enabled": true});
        if has_rules {
            server.inner.borrow_mut().rules = Some(vec![theirs.clone()]);
        }
        let mut worker = ZoneWorker {
            zones: Zones::new(&["z".to_owned()], &BTreeMap::new()),
            disk: BTreeMap::new(),
            plan: ZonePlan { zone: "z".to_owned(), rules: Vec::new() },
        };
        for step in moves {
            match step {
                Move::Want(lows) => {
                    worker.plan.rules.clear();
                    for low in lows.iter().take(4) {
                        worker.plan.add(&format!("list{}", low % 7), "block", format!("about {low}"));
                    }
                    let mut seen = BTreeSet::new();
                    worker.plan.rules.retain(|rule| seen.insert(rule.reference.clone()));
                }
                Move::Audit => worker.zones.audit(),
                other => play(&mut worker, &server, other),
            }
        }
        server.inner.borrow_mut().faults.clear();
        // After a lost answer, what is there is found out by an audit at the latest.
        worker.zones.audit();
        settle(&mut worker, &server);
        let inner = server.inner.borrow();
        let rules = inner.rules.clone().unwrap_or_default();
        let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        let there: Vec<_> = rules.iter().filter(|rule| rule["ref"] != "mine").collect();
        let there: BTreeMap<_, _> = there.iter().map(|rule| (text(rule, "ref"), text(rule, "expression"))).collect();
        let wanted: BTreeMap<_, _> =
            worker.plan.rules.iter().map(|rule| (rule.reference.clone(), rule.expression.clone())).collect();
        prop_assert_eq!(there.len(), rules.len() - usize::from(has_rules), "each is there once: {:?}", rules);
        prop_assert_eq!(there, wanted);
        prop_assert_eq!(rules.contains(&theirs), has_rules);
    }
}

#[test]
fn what_the_api_does_not_take_is_found_and_left_out() {
    let server = Server::default();
    server.inner.borrow_mut().poison.insert("192.0.2.13".to_owned());
    let mut worker = ListWorker::new(100);
    worker.want(&(0..40).collect());
    settle_within(&mut worker, &server, 600_000);
    assert_eq!(server.items("testudo_ban").len(), 39);
    assert_eq!(worker.lists.counts().refused, 1);
    let told = worker.lists.told().join("\n");
    assert!(told.contains("192.0.2.13 is not taken"), "{told}");
}

#[test]
fn a_difference_costs_little() {
    let server = Server::default();
    let mut worker = ListWorker::new(100);
    worker.want(&(0..40).collect());
    settle(&mut worker, &server);
    let mut cost = |lows: BTreeSet<u8>| {
        server.inner.borrow_mut().requests.clear();
        worker.want(&lows);
        settle(&mut worker, &server);
        let requests = server.inner.borrow().requests.clone();
        requests.iter().filter(|request| !request.contains("bulk_operations")).count()
    };
    assert_eq!(cost((0..41).collect()), 1);
    // Looking for its identity, and removing it.
    assert_eq!(cost((0..40).collect()), 2);
    assert_eq!(cost((0..40).collect()), 0);
    assert_eq!(net_text(net_of("192.0.2.0/24").expect("a network")), "192.0.2.0/24");
}

#[test]
fn a_full_list_is_emptied_before_it_is_filled() {
    let server = Server::default();
    let mut worker = ListWorker::new(10);
    worker.want(&(0..10).collect());
    settle(&mut worker, &server);
    worker.want(&(10..20).collect());
    let mut most = 0;
    for _ in 0..200 {
        some(&mut worker, &server, 1);
        most = most.max(server.items("testudo_ban").len());
    }
    settle(&mut worker, &server);
    assert_eq!((server.items("testudo_ban").len(), most), (10, 10));
}
