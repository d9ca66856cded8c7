//! The other group protocol (KIP-848), and how long a killed member's partitions stay without an owner under both.

use std::{
    collections::BTreeMap,
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use waybill_log::{
    KafkaLog, Log as _,
    conformance::{Instance as Law, groups, topics},
    kafka::{GroupProtocol, testing::TestBroker},
};

use crate::{
    child::{Plan, Running},
    laws, tools,
};

async fn consumer_protocol() -> Law {
    laws::instance(|options| options.group_protocol = GroupProtocol::Consumer).await
}

/// The laws of groups that do not need a static member, one group after another.
macro_rules! laws_under_kip_848 {
    ($($module:ident :: $law:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                $module::$law(&consumer_protocol().await).await;
            }
        )*
    };
}

mod kip_848 {
    use super::*;

    laws_under_kip_848!(
        groups::one_member_gets_everything_and_nothing_before_it_starts
        groups::a_start_is_at_an_offset_or_at_the_commit_or_at_the_first
        groups::log_1_commits_come_back_with_their_metadata
        groups::a_newcomer_moves_only_what_it_needs
        groups::a_revoked_partition_waits_for_its_release
        groups::a_drain_ends_with_its_budget
        groups::log_1_what_is_drained_may_be_committed_and_what_is_lost_may_not
        groups::leaving_hands_on_at_once
        groups::paused_partitions_are_silent_until_resumed
        groups::a_lost_commit_answer_renews_no_lease
        groups::deliveries_are_limited_and_no_partition_starves
        topics::gaps_are_skipped
    );
}

#[allow(clippy::disallowed_methods, reason = "the test's own time")]
fn now() -> Instant {
    Instant::now()
}

const PARTITIONS: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// The killed member comes again under its name at once, as a StatefulSet's pod does.
    Restart,
    /// It never comes again.
    Nothing,
}

/// Reads what children say until the predicate holds of who owns what; answers how long it took.
fn owned_within(
    members: &[&Running],
    owners: &mut BTreeMap<u32, usize>,
    limit: Duration,
    enough: usize,
) -> Option<Duration> {
    let began = now();
    while owners.len() < enough {
        for (index, member) in members.iter().enumerate() {
            match member.said.recv_timeout(Duration::from_millis(2)) {
                Ok(text) => {
                    let (sign, partition) = text.split_at(1);
                    let Ok(partition) = partition.parse() else { continue };
                    match sign {
                        "+" => drop(owners.insert(partition, index)),
                        "-" if owners.get(&partition) == Some(&index) => drop(owners.remove(&partition)),
                        _ => {}
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        if began.elapsed() > limit {
            return None;
        }
    }
    Some(began.elapsed())
}

fn unowned_after_kill(plans: [Plan; 2], after: After) -> Duration {
    let first = Running::start(&plans[0]);
    let mut owners = BTreeMap::new();
    owned_within(&[&first], &mut owners, Duration::from_secs(120), PARTITIONS as usize).expect("the first owns all");
    let mut second = Running::start(&plans[1]);
    // Both have their share once the second has said so of half.
    let began = now();
    while owners.values().filter(|owner| **owner == 1).count() < PARTITIONS as usize / 2 {
        let _settling = owned_within(&[&first, &second], &mut owners, Duration::from_millis(50), usize::MAX);
        assert!(began.elapsed() < Duration::from_secs(120), "the second gets nothing: {owners:?}");
    }
    second.kill();
    owners.retain(|_, owner| *owner == 0);
    if after == After::Restart {
        second = Running::start(&plans[1]);
    }
    owned_within(&[&first, &second], &mut owners, Duration::from_secs(120), PARTITIONS as usize)
        .unwrap_or_else(|| panic!("partitions stay without an owner: {owners:?}"))
}

/// Prints, for both protocols, the longest time a killed member's partition had no owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_members_partitions_get_an_owner_again() {
    let broker = TestBroker::shared().await;
    let log = KafkaLog::connect(broker.options()).await.unwrap();
    let cases = [
        ("classic, static, restarted at once", GroupProtocol::Classic, After::Restart),
        ("classic, static, gone for good", GroupProtocol::Classic, After::Nothing),
        ("KIP-848, restarted at once", GroupProtocol::Consumer, After::Restart),
        ("KIP-848, gone for good", GroupProtocol::Consumer, After::Nothing),
    ];
    let mut running = Vec::new();
    let dir = tempfile::tempdir().unwrap();
    for (number, (name, protocol, after)) in cases.into_iter().enumerate() {
        let topic = format!("takeover-{number}");
        log.create_topics(&[tools::topic(&topic, PARTITIONS)]).await.unwrap();
        let plan = |member: &str| Plan {
            brokers: broker.brokers(),
            protocol,
            topic: topic.clone(),
            group: topic.clone(),
            member: format!("{topic}-{member}"),
            dir: dir.path().to_owned(),
            window: 10,
            work_ms: 0,
        };
        let plans = [plan("a"), plan("b")];
        running.push((name, tokio::task::spawn_blocking(move || unowned_after_kill(plans, after))));
    }
    for (name, result) in running {
        println!("takeover: {name}: {:.1} s without an owner after kill -9", result.await.unwrap().as_secs_f64());
    }
    assert_eq!(tools::error_lines(dir.path()), Vec::<String>::new());
}

/// A member that was frozen for longer than its session, beside a successor of its name: waking, it must not take the name
/// back. It ends, and the successor goes on as if nothing had been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sch_2_who_slept_through_its_session_leaves_its_name_to_its_successor() {
    let broker = TestBroker::shared().await;
    let log = KafkaLog::connect(broker.options()).await.unwrap();
    let topic = "overslept".to_owned();
    log.create_topics(&[tools::topic(&topic, PARTITIONS)]).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan {
        brokers: broker.brokers(),
        protocol: GroupProtocol::Classic,
        group: topic.clone(),
        member: topic.clone(),
        topic,
        dir: dir.path().to_owned(),
        window: 10,
        work_ms: 0,
    };
    let watched = tokio::task::spawn_blocking(move || {
        let all = PARTITIONS as usize;
        let mut sleeper = Running::start(&plan);
        owned_within(&[&sleeper], &mut BTreeMap::new(), Duration::from_secs(120), all).expect("it owns all");
        sleeper.freeze();
        let mut successor = Running::start(&plan);
        let mut owners = BTreeMap::new();
        owned_within(&[&successor], &mut owners, Duration::from_secs(120), all).expect("its successor owns all");
        // Longer than the session, by the sleeper's own clock too.
        std::thread::sleep(Duration::from_secs(20));
        sleeper.thaw();
        let woke = now();
        let ended = loop {
            if let Some(well) = sleeper.ended() {
                break well;
            }
            assert_eq!(successor.ended(), None, "the successor goes on");
            assert!(woke.elapsed() < Duration::from_secs(90), "the sleeper goes on");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(!ended, "it says why it ended");
        println!("overslept: the sleeper ended {:.1} s after it woke", woke.elapsed().as_secs_f64());
        let lost = successor.said.try_iter().filter(|said| said.starts_with('-')).count();
        assert_eq!(lost, 0, "nothing was taken from the successor");
    });
    watched.await.unwrap();
}
