//! Pages that starting bouncers share: each is told what it would be told alone.

use proptest::prelude::*;
use testudo_store::{Filter, Since, StreamOptions};
use testudo_wire::stream::StreamBody;

use super::*;
use crate::pages::{Pages as _, StreamPages};
use crate::rendered::Question;

/// Rows that are looked at for a page, so that a few dozen decisions make many.
const ROWS: usize = 3;

/// Bans addresses for so many seconds each; the last number chooses among sorts of decisions.
pub(super) fn push(service: &Service, now: i64, decisions: &[(u8, i64, u8)]) {
    let stop_at = testudo_event::Timestamp::from_unix(now / 1000, 0);
    let decisions = decisions.iter().map(|&(address, seconds, sort)| testudo_event::Decision {
        kind: if sort == 1 { "captcha" } else { "ban" }.to_owned(),
        scope: "Ip".to_owned(),
        value: format!("192.0.2.{address}"),
        origin: if sort == 2 { "lists" } else { "cscli" }.to_owned(),
        duration_ns: seconds * 1_000_000_000,
        until: stop_at.add_nanos(seconds * 1_000_000_000),
        ..Default::default()
    });
    let alert = testudo_event::Alert { stop_at, decisions: decisions.collect(), ..Default::default() };
    service.push("x", vec![alert], now).expect("taken");
}

fn filter(is_narrow: bool) -> Filter {
    let types = is_narrow.then(|| vec!["ban".to_owned()]);
    Filter { types, ..Filter::default() }
}

/// What a start is told by a page, at its end or so far.
struct Start {
    pages: StreamPages,
    alone: String,
    told: String,
    is_over: bool,
}

impl Start {
    /// A start of a bouncer that is told all there is; alone, it is told so at once.
    fn new(service: &Arc<Service>, now: i64, is_narrow: bool, last: Option<testudo_store::Cursor>) -> Start {
        let (filter, options) = (filter(is_narrow), StreamOptions::default());
        let index = service.store().index(now);
        let question = Question::new(filter.clone(), options, &index);
        let stream = index.stream(filter, options, Since::Start(last));
        drop(index);
        // Of too many different questions at once, the last go without.
        let shared = service.renderings().join(question);
        let pages =
            |stream| StreamPages::new(Arc::clone(service), stream, "b".to_owned(), now).with_rows(ROWS);
        let mut one = pages(stream.clone());
        let alone = std::iter::from_fn(|| one.next_page());
        let alone = alone.map(|page| String::from_utf8(page.to_vec()).expect("UTF-8")).collect();
        Start { pages: pages(stream).sharing(shared), alone, told: String::new(), is_over: false }
    }

    fn step(&mut self) {
        match self.pages.next_page() {
            Some(page) => {
                assert!(!page.is_empty());
                self.told.push_str(std::str::from_utf8(&page).expect("UTF-8"));
            }
            None => self.is_over = true,
        }
    }

    fn finish(&mut self) {
        while !self.is_over {
            self.step();
        }
    }
}

/// The rows of both sides, with the seconds that each has left.
fn rows(body: &str) -> [Vec<(i64, String, i64)>; 2] {
    let body: StreamBody = testudo_wire::body::read(body.as_bytes()).expect(body);
    [body.new, body.deleted].map(|side| {
        let row = |decision: testudo_wire::decision::Decision| {
            let left = testudo_event::duration::parse(&decision.duration).expect("a duration");
            (
                decision.id,
                format!("{} {} {}", decision.kind, decision.value, decision.uuid),
                left / 1_000_000_000,
            )
        };
        side.into_iter().map(row).collect()
    })
}

#[derive(Clone, Debug)]
enum Step {
    /// One more starts: of which sort, and from the position of one that started before.
    Start(bool, Option<prop::sample::Index>),
    /// One takes so many pages.
    Take(prop::sample::Index, u8),
    /// One goes away.
    Leave(prop::sample::Index),
    Ban(u8, i64, u8),
    Lift(u8),
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), any::<Option<prop::sample::Index>>()).prop_map(|(sort, last)| Step::Start(sort, last)),
        6 => (any::<prop::sample::Index>(), 1_u8..6).prop_map(|(who, count)| Step::Take(who, count)),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
        1 => (0_u8..40, 2_i64..20, 0_u8..3).prop_map(|(address, seconds, sort)| Step::Ban(address, seconds, sort)),
        1 => (0_u8..40).prop_map(Step::Lift),
        1 => (1_i64..1500).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn who_shares_is_told_the_same(
        first in prop::collection::vec((0_u8..40, 2_i64..20, 0_u8..3), 0..40),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(AtomicI64::new(START));
        let service = open(folder.path(), &clock, Config::default());
        let now = || clock.load(Ordering::Relaxed);
        push(&service, now(), &first);
        let mut starts: Vec<Start> = Vec::new();
        let mut cursors = Vec::new();
        for step in steps {
            match step {
                Step::Start(is_narrow, last) => {
                    let last = last.filter(|_| !cursors.is_empty()).map(|last| *last.get(&cursors));
                    starts.push(Start::new(&service, now(), is_narrow, last));
                    cursors.push(service.store().index_as_it_is().now());
                }
                Step::Take(who, count) if !starts.is_empty() => {
                    let who = who.index(starts.len());
                    for _ in 0..count {
                        if !starts[who].is_over {
                            starts[who].step();
                        }
                    }
                }
                Step::Leave(who) if !starts.is_empty() => {
                    starts.swap_remove(who.index(starts.len()));
                }
                Step::Ban(address, seconds, sort) => push(&service, now(), &[(address, seconds, sort)]),
                Step::Lift(address) => {
                    let filter = Filter { value: Some(format!("192.0.2.{address}")), ..Filter::default() };
                    service.store().end_matching(&filter, now()).expect("ended");
                }
                Step::Pass(millis) => {
                    clock.fetch_add(millis, Ordering::Relaxed);
                }
                Step::Take(..) | Step::Leave(_) => {}
            }
        }
        for start in &mut starts {
            start.finish();
            let [[new, deleted], [alone_new, alone_deleted]] = [rows(&start.told), rows(&start.alone)];
            prop_assert_eq!(deleted, alone_deleted);
            // Moments that share are less than a second apart; what ends about then may be told or not.
            for (told, other) in [(&new, &alone_new), (&alone_new, &new)] {
                for (id, text, left) in told.iter().filter(|(.., left)| *left > 2) {
                    let same = other.iter().find(|row| row.0 == *id);
                    prop_assert!(
                        same.is_some_and(|row| row.1 == *text && row.2.abs_diff(*left) <= 1),
                        "{} {}: {:?}", id, text, same
                    );
                }
            }
            prop_assert!(new.is_sorted_by_key(|row| row.0));
        }
        drop(starts);
        prop_assert_eq!(service.renderings().kept(), 0);
    }
}

/// Of many that start at once, two make pages at most: the first, while it is alone, and one more.
#[test]
fn pages_are_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(AtomicI64::new(START));
    let service = open(folder.path(), &clock, Config::default());
    push(&service, START, &(0..40).map(|address| (address, 3600, 0)).collect::<Vec<_>>());
    let start = || Start::new(&service, START, false, None);
    let mut first = start();
    first.step();
    first.step();
    assert_eq!(service.renderings().kept(), 0, "nobody to keep it for");
    let mut others: Vec<Start> = (0..5).map(|_| start()).collect();
    others[0].finish();
    let kept = service.renderings().kept();
    assert!(kept > 1000, "{kept} bytes");
    first.finish();
    others[1..].iter_mut().for_each(Start::finish);
    assert!(std::iter::once(&first).chain(&others).all(|start| start.told == start.alone));
    assert_eq!(service.renderings().kept(), 0);

    // They are the same bytes in the same place of memory.
    let (mut one, mut other) = (start(), start());
    let places: Vec<_> = (0..4)
        .map(|_| [&mut one, &mut other].map(|start| start.pages.next_page().expect("a page")))
        .map(|pair| pair.map(|page| page.as_ptr()))
        .collect();
    // The first page is what stands before.
    assert!(places[1..].iter().all(|[one, other]| one == other));
}

#[test]
fn other_questions_share_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(AtomicI64::new(START));
    let service = open(folder.path(), &clock, Config::default());
    push(&service, START, &[(1, 3600, 0), (2, 3600, 1), (3, 5, 0)]);
    let mut wide = Start::new(&service, START, false, None);
    let mut narrow = Start::new(&service, START, true, None);
    // Another second, another commit, another decision that is over.
    clock.fetch_add(1001, Ordering::Relaxed);
    let [mut later, mut same] = [(); 2].map(|()| Start::new(&service, START + 1001, false, None));
    push(&service, START + 1001, &[(4, 3600, 0)]);
    let mut newer = Start::new(&service, START + 1001, false, None);
    clock.fetch_add(4000, Ordering::Relaxed);
    let mut latest = Start::new(&service, START + 5001, false, None);
    // In turn, so that what one makes is there for the next.
    let mut starts = [&mut wide, &mut narrow, &mut later, &mut newer, &mut same, &mut latest];
    while starts.iter().any(|start| !start.is_over) {
        starts.iter_mut().filter(|start| !start.is_over).for_each(|start| start.step());
    }
    for start in starts {
        assert_eq!(start.told, start.alone);
    }
    assert_eq!(service.renderings().kept(), 0);
}
