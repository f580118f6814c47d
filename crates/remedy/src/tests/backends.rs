//! The same for kernels that can do less: times that are limited, elements that do not end, networks that may not overlap, room
//! for some.

use std::collections::BTreeSet;

use super::*;

/// Kernels with what the backends that there are lack.
fn limited(kernel: Kernel) -> Kernel {
    Kernel { longest_ms: Some(60_000), ..kernel }
}

fn flat(kernel: Kernel) -> Flat<Kernel, impl Fn() -> u64> {
    let clock = Rc::clone(&kernel.clock);
    Flat::new(Kernel { is_flat: true, ..kernel }, &[], move || clock.get())
}

/// A decision does the same as any other, where rules are not ours.
fn bans_only(acts: Vec<Act>) -> Vec<Act> {
    acts.into_iter()
        .map(|act| match act {
            Act::Come(mut decisions) => {
                decisions.iter_mut().for_each(|decision| decision.2 = false);
                Act::Come(decisions)
            }
            act => act,
        })
        .collect()
}

proptest! {
    /// iptables: no element may have a longer time than some days.
    #[test]
    fn two_audits_later_it_is_where_times_are_limited(acts in acts()) {
        play(&acts, limited, |kernel| kernel, false)?;
    }

    /// Sets of nftables that the user owns.
    #[test]
    fn two_audits_later_it_is_where_nothing_may_overlap(acts in acts()) {
        play(&bans_only(acts), flat, Flat::inner_mut, true)?;
    }

    /// Sets of ipset that the user owns.
    #[test]
    fn two_audits_later_it_is_where_times_are_limited_and_nothing_may_overlap(acts in acts()) {
        play(&bans_only(acts), |kernel| flat(limited(kernel)), Flat::inner_mut, true)?;
    }

    /// Tables of pf.
    #[test]
    fn two_audits_later_it_is_where_nothing_ends(acts in acts()) {
        let endless = |kernel| flat(Kernel { is_endless: true, ..kernel });
        play(&bans_only(acts), endless, Flat::inner_mut, true)?;
    }

    /// Who weighs most is in force, and the room is used.
    #[test]
    fn where_there_is_no_room_who_weighs_least_is_left_out(
        steps in prop::collection::vec((0..24_u8, 0..3_usize, 5..90_u64, any::<bool>(), 0..3_u64), 1..60),
        room in 1..12_usize,
    ) {
        let mut enforcer = Enforcer::new(Kernel { room: Some(room), tells_full: true, ..Kernel::default() });
        let mut now = 0;
        let mut rows: BTreeMap<i64, (Decision, usize)> = BTreeMap::new();
        for (id, (host, origin, seconds, is_lifted, wait)) in (0..).zip(steps) {
            // Ends are apart from each other, and from the time of the question, by more than is rounded.
            now += wait * 2_000;
            enforcer.backend_mut().turn(now);
            let group = enforcer.groups_mut().id(["CAPI", "crowdsec", "cscli"][origin], "", Action::Deny);
            let net = Prefix::single([192, 0, 2, host].into());
            let decision = Decision { id, net, group, until_ms: now + seconds * 2_000 };
            let update = if is_lifted && !rows.is_empty() {
                let (_, (lifted, _)) = rows.pop_first().expect("there is one");
                delta(vec![], vec![lifted])
            } else {
                rows.insert(id, (decision, origin));
                delta(vec![decision], vec![])
            };
            enforcer.update(update, now).expect("it works");
        }
        for _ in 0..3 {
            now += 11_000;
            enforcer.backend_mut().turn(now);
            enforcer.tick(now).expect("it works");
        }
        // The strongest decision of each address.
        let mut weights: BTreeMap<Prefix, (u64, usize)> = BTreeMap::new();
        for (decision, origin) in rows.values().filter(|(decision, _)| decision.until_ms > now) {
            let weight = weights.entry(decision.net).or_default();
            *weight = (*weight).max((decision.until_ms, *origin));
        }
        let in_force: BTreeSet<Prefix> = enforcer.backend_mut().live().map(|(net, ..)| net).collect();
        prop_assert_eq!(in_force.len(), weights.len().min(room));
        prop_assert_eq!(enforcer.left_out(), weights.len() - in_force.len());
        let weight = |net: &Prefix| weights.get(net).map(|(until, origin)| (*origin, *until));
        let lightest = in_force.iter().map(weight).min().flatten();
        let heaviest = weights.keys().filter(|net| !in_force.contains(net)).map(weight).max().flatten();
        prop_assert!(heaviest <= lightest || lightest.is_none(), "{heaviest:?} is out, {lightest:?} is in");
    }
}

#[test]
fn a_full_set_is_told_once_and_gives_way() {
    let mut enforcer = Enforcer::new(Kernel { room: Some(3), tells_full: true, ..Kernel::default() });
    let listed = enforcer.groups_mut().id("lists", "one", Action::Deny);
    let manual = enforcer.groups_mut().id("cscli", "", Action::Deny);
    let ban = |id: i64, group, seconds: u64| Decision {
        id,
        net: net(&format!("192.0.2.{id}/32")),
        group,
        until_ms: seconds * 1_000,
    };
    let bans = (1..6).map(|id| ban(id, listed, 100 + id as u64 * 10)).collect();
    let outcome = enforcer.update(delta(bans, vec![]), 0).expect("it works");
    assert_eq!(outcome.problems, ["the set is full: 2 of 5 elements, those that weigh least, are left out"]);
    assert_eq!(in_force(&mut enforcer), ["192.0.2.3/32 130", "192.0.2.4/32 140", "192.0.2.5/32 150"]);
    // What somebody decides comes in at once, in place of what ends first.
    let outcome = enforcer.update(delta(vec![ban(9, manual, 20)], vec![]), 0).expect("it works");
    assert_eq!(outcome.problems, [""; 0]);
    assert_eq!(in_force(&mut enforcer), ["192.0.2.4/32 140", "192.0.2.5/32 150", "192.0.2.9/32 20"]);
    assert_eq!((enforcer.left_out(), enforcer.counts().failed), (3, 3));
    // When it is over, there is room again.
    enforcer.backend_mut().turn(21_000);
    enforcer.tick(21_000).expect("it works");
    assert_eq!(in_force(&mut enforcer), ["192.0.2.3/32 109", "192.0.2.4/32 119", "192.0.2.5/32 129"]);
    assert_eq!(enforcer.left_out(), 2);
}

#[test]
fn what_cannot_be_done_is_told_once() {
    let mut enforcer = Enforcer::new(Kernel { room: Some(0), ..Kernel::default() });
    let ban = decision(&mut enforcer, 1, "192.0.2.1/32", 100);
    let told = |outcome: Result<Outcome, OutOfOrder>| outcome.expect("it works").problems.len();
    assert_eq!(told(enforcer.update(delta(vec![ban], vec![]), 0)), 1);
    assert_eq!(told(enforcer.tick(10_000)), 0);
    assert_eq!(told(enforcer.tick(20_000)), 0);
    assert_eq!(enforcer.counts().failed, 3);
    // Lifted, and banned anew, it is another matter.
    enforcer.update(delta(vec![], vec![ban]), 21_000).expect("it works");
    enforcer.tick(30_000).expect("it works");
    assert_eq!(told(enforcer.update(delta(vec![ban], vec![]), 31_000)), 1);
}

#[test]
fn problems_of_steps_that_failed_are_told_later() {
    let mut enforcer = Enforcer::new(Kernel::default());
    let ban = decision(&mut enforcer, 1, "192.0.2.1/32", 100);
    enforcer.update(delta(vec![ban], vec![]), 0).expect("it works");
    enforcer.backend_mut().elements.clear();
    // It is seen that the element is missing, and cannot be repaired: the third call.
    let kernel = enforcer.backend_mut();
    kernel.failing_after = Some(2);
    enforcer.audit(10, 1).expect_err("it fails");
    let outcome = enforcer.audit(10, 1).expect("it works");
    assert_eq!(outcome.problems, ["192.0.2.1/32 was not in force"]);
    assert_eq!(in_force(&mut enforcer).len(), 1);
    // What enforces is gone, and cannot be put back at once.
    let kernel = enforcer.backend_mut();
    kernel.is_there = false;
    kernel.failing_after = Some(1);
    enforcer.audit(10, 1).expect_err("it fails");
    let outcome = enforcer.tick(2).expect("it works");
    assert_eq!(outcome.problems, ["what enforces was taken away or changed; it was put back whole"]);
    // It cannot be asked, after a change that was refused in part.
    let range = decision(&mut enforcer, 2, "198.51.100.0/24", 100);
    enforcer.backend_mut().room = Some(0);
    enforcer.update(delta(vec![range], vec![]), 2).expect("it works");
    enforcer.backend_mut().failing_after = Some(2);
    enforcer.audit(10, 20_000).expect_err("it fails");
    let problems = enforcer.audit(10, 20_001).expect("it works").problems;
    assert!(
        problems.iter().any(|problem| problem.contains("could not be changed: the set is full")),
        "{problems:?}"
    );
}

#[test]
fn long_times_are_put_again_before_they_run_out() {
    let mut enforcer = Enforcer::new(limited(Kernel::default()));
    let ban = decision(&mut enforcer, 1, "192.0.2.1/32", 1_000);
    enforcer.update(delta(vec![ban], vec![]), 0).expect("it works");
    assert_eq!(in_force(&mut enforcer), ["192.0.2.1/32 60"]);
    for second in 0..1_005 {
        enforcer.backend_mut().turn(second * 1_000);
        let outcome = enforcer.audit(10, second * 1_000).expect("it works");
        assert_eq!(outcome.problems, [""; 0], "{second}");
        assert_eq!(in_force(&mut enforcer).len(), usize::from(second < 1_000), "{second}");
    }
    assert_eq!((enforcer.counts().drifted, enforcer.counts().repaired), (0, 0));
}

/// Somebody has put it there without an end; a limit of times makes no difference.
#[test]
fn what_would_never_end_is_given_its_end() {
    fn play<B: Backend<Error = OutOfOrder>>(mut enforcer: Enforcer<B>, kernel: fn(&mut B) -> &mut Kernel) {
        let group = enforcer.groups_mut().id("crowdsec", "", Action::Deny);
        let ban = Decision { id: 1, net: net("192.0.2.0/29"), group, until_ms: 50_000 };
        enforcer.update(delta(vec![ban], vec![]), 0).expect("it works");
        let element = |enforcer: &mut Enforcer<B>| {
            kernel(enforcer.backend_mut()).elements.get(&ban.net).map(|(_, until)| *until)
        };
        kernel(enforcer.backend_mut()).elements.get_mut(&ban.net).expect("it is there").1 = u64::MAX;
        let outcome = enforcer.audit(10, 0).expect("it works");
        assert_eq!(outcome.problems.len(), 1, "{:?}", outcome.problems);
        assert!(outcome.problems[0].contains("would never have ended"), "{:?}", outcome.problems);
        assert_eq!(element(&mut enforcer), Some(50_000));
        assert_eq!(enforcer.audit(10, 0).expect("it works").problems, [""; 0]);
    }
    play(Enforcer::new(Kernel::default()), |kernel| kernel);
    play(Enforcer::new(limited(Kernel::default())), |kernel| kernel);
    play(Enforcer::new(Flat::new(Kernel::default(), &[], || 0)), Flat::inner_mut);
}

#[test]
fn networks_are_cut_around_who_passes() {
    let mut enforcer = Enforcer::new(flat(Kernel::default()));
    let group = enforcer.groups_mut().id("crowdsec", "", Action::Deny);
    let ban =
        |id, text: &str, seconds: u64| Decision { id, net: net(text), group, until_ms: seconds * 1_000 };
    let shown = |enforcer: &mut Enforcer<_>| -> Vec<String> {
        let kernel: &mut Kernel = Flat::inner_mut(enforcer.backend_mut());
        kernel.live().map(|(net, _, until)| format!("{net} {}", until / 1_000)).collect()
    };
    let bans = vec![ban(1, "192.0.2.0/29", 100), ban(2, "192.0.2.1/32", 50), ban(3, "192.0.2.6/32", 200)];
    enforcer.update(delta(bans, vec![]), 0).expect("it works");
    let whole = ["192.0.2.0/30 100", "192.0.2.4/31 100", "192.0.2.6/32 200", "192.0.2.7/32 100"];
    assert_eq!(shown(&mut enforcer), whole);
    enforcer.backend_mut().allow(&[net("192.0.2.4/30"), net("192.0.2.5/32")]).expect("it works");
    assert_eq!(shown(&mut enforcer), ["192.0.2.0/30 100"]);
    enforcer.audit(10, 0).expect("it works");
    assert_eq!((enforcer.enforced(), enforcer.counts().drifted), (Some(1.0), 0));
    enforcer.backend_mut().allow(&[]).expect("it works");
    assert_eq!(shown(&mut enforcer), whole);
    enforcer.update(delta(vec![], vec![ban(1, "192.0.2.0/29", 100)]), 0).expect("it works");
    assert_eq!(shown(&mut enforcer), ["192.0.2.1/32 50", "192.0.2.6/32 200"]);
}
