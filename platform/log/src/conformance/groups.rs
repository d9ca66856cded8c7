//! Laws of groups.

use std::time::Duration;

use tokio::time::Instant;

use super::{Instance, User, user::SILENCE};
use crate::seam::{GroupEvent, JoinGroup, LogError, OutOfRange, TopicPartition};

/// A lone member owns all partitions; delivery begins with `start`.
pub async fn one_member_gets_everything_and_nothing_before_it_starts(with: &Instance) {
    let topic = with.create("t", 3).await;
    for partition in 0..3 {
        with.append(&topic, partition, &partition.to_string()).await;
    }
    let mut user = with.join(&topic, "a").await;
    assert_eq!(user.assigned(3).await, [0, 1, 2]);
    assert_eq!(user.member.ownership().partitions(), [0, 1, 2]);
    user.hears_nothing().await;
    user.member.start(1, None).await.unwrap();
    let records = user.records(1).await;
    assert_eq!(records[0].0, 1);
    user.hears_nothing().await;
}

/// Explicit offset, else the commit, else the first kept record.
pub async fn a_start_is_at_an_offset_or_at_the_commit_or_at_the_first(with: &Instance) {
    let topic = with.create("t", 1).await;
    for index in 0..6 {
        with.append(&topic, 0, &index.to_string()).await;
    }
    with.faults.delete_before(&TopicPartition::new(topic.as_str(), 0), 1).await;
    let mut user = with.join(&topic, "a").await;
    user.assigned(1).await;
    user.member.start(0, None).await.unwrap();
    assert_eq!(user.values(5).await[0], "1");
    user.commit(0, 3, "").await.unwrap();
    user.member.start(0, None).await.unwrap();
    assert_eq!(user.values(3).await[0], "3");
    user.member.start(0, Some(5)).await.unwrap();
    assert_eq!(user.values(1).await[0], "5");
    assert!(matches!(user.member.start(7, None).await, Err(LogError::NotOwned(7))));
}

/// A commit is kept with its metadata, beyond the member that made it.
pub async fn log_1_commits_come_back_with_their_metadata(with: &Instance) {
    let topic = with.create("t", 2).await;
    with.append(&topic, 1, "x").await;
    let mut user = with.join(&topic, "a").await;
    user.assigned(2).await;
    assert_eq!(user.member.committed(1).await.unwrap(), None);
    user.commit(1, 1, "{\"range\":[0,1]} \u{fc}").await.unwrap();
    assert!(matches!(user.commit(1, 1, &"x".repeat(5_000)).await, Err(LogError::TooLarge { .. })));
    user.member.leave().await;
    let mut user = with.join(&topic, "b").await;
    user.assigned(2).await;
    let committed = user.member.committed(1).await.unwrap().unwrap();
    assert_eq!((committed.offset, committed.metadata.as_str()), (1, "{\"range\":[0,1]} \u{fc}"));
    assert_eq!(user.member.committed(0).await.unwrap(), None);
}

/// What was delivered and not committed is delivered to the next owner.
pub async fn log_1_uncommitted_work_comes_again(with: &Instance) {
    let topic = with.create("t", 1).await;
    for index in 0..5 {
        with.append(&topic, 0, &index.to_string()).await;
    }
    let mut user = with.join(&topic, "a").await;
    user.started(1).await;
    user.records(5).await;
    user.commit(0, 2, "").await.unwrap();
    drop(user);
    with.faults.end_session(&with.request(&topic, "a").group, &topic, "a").await;
    let mut user = with.join(&topic, "b").await;
    user.started(1).await;
    assert_eq!(user.values(3).await, ["2", "3", "4"]);
}

async fn two_of_four(with: &Instance, topic: &str) -> (User, User, Vec<u32>) {
    let mut first = with.join(topic, "a").await;
    first.started(4).await;
    let second = with.join(topic, "b").await;
    let revoked = first.revoked().await;
    (first, second, revoked)
}

/// Half of the partitions move to a second member, and the other half is not touched.
pub async fn a_newcomer_moves_only_what_it_needs(with: &Instance) {
    let topic = with.create("t", 4).await;
    let (mut first, mut second, revoked) = two_of_four(with, &topic).await;
    assert_eq!(revoked.len(), 2);
    let kept = first.member.ownership().partitions();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|partition| !revoked.contains(partition)));
    // What stays is delivered on while the rest moves.
    with.append(&topic, kept[0], "x").await;
    assert_eq!(first.records(1).await[0].0, kept[0]);
    first.member.release(&revoked);
    let mut moved = second.started(2).await;
    moved.sort_unstable();
    let mut expected = revoked.clone();
    expected.sort_unstable();
    assert_eq!(moved, expected);
    for partition in 0..4 {
        assert!(first.member.ownership().holds(partition) != second.member.ownership().holds(partition));
    }
}

/// Work in flight is finished before anybody else may begin; the flag turns at once.
pub async fn a_revoked_partition_waits_for_its_release(with: &Instance) {
    let topic = with.create("t", 4).await;
    let (mut first, mut second, revoked) = two_of_four(with, &topic).await;
    assert!(revoked.iter().all(|partition| !first.member.ownership().holds(*partition)));
    for partition in &revoked {
        with.append(&topic, *partition, "x").await;
    }
    second.hears_nothing().await;
    first.hears_nothing().await;
    assert!(second.member.ownership().partitions().is_empty());
    first.member.release(&revoked[..1]);
    assert_eq!(second.assigned(1).await, revoked[..1]);
    second.hears_nothing().await;
    first.member.release(&revoked[1..]);
    assert_eq!(second.assigned(1).await, revoked[1..]);
}

/// A member that never lets go holds a partition back no longer than its budget.
pub async fn a_drain_ends_with_its_budget(with: &Instance) {
    let topic = with.create("t", 2).await;
    let request = JoinGroup { drain_budget: SILENCE, ..with.request(&topic, "a") };
    let mut first = with.join_as(request).await;
    first.started(2).await;
    let mut second = with.join(&topic, "b").await;
    let revoked = first.revoked().await;
    assert_eq!(second.assigned(1).await, revoked);
    assert!(matches!(first.commit(revoked[0], 0, "").await, Err(LogError::NotOwned(_))));
}

/// Progress made while draining is kept; progress claimed afterwards is refused as a whole.
pub async fn log_1_what_is_drained_may_be_committed_and_what_is_lost_may_not(with: &Instance) {
    let topic = with.create("t", 4).await;
    for partition in 0..4 {
        with.append(&topic, partition, "x").await;
        with.append(&topic, partition, "y").await;
    }
    let (mut first, mut second, revoked) = two_of_four(with, &topic).await;
    let (moved, kept) = (revoked[0], first.member.ownership().partitions()[0]);
    first.commit(moved, 1, "drained").await.unwrap();
    first.member.release(&revoked);
    second.started(2).await;
    let commit = |partition| crate::seam::Commit { partition, offset: 2, metadata: String::new() };
    let refused = first.member.commit(&[commit(kept), commit(moved)]).await;
    assert!(matches!(refused, Err(LogError::NotOwned(partition)) if partition == moved), "{refused:?}");
    assert_eq!(first.member.committed(kept).await.unwrap(), None);
    let committed = second.member.committed(moved).await.unwrap().unwrap();
    assert_eq!((committed.offset, committed.metadata.as_str()), (1, "drained"));
    let first_of_moved = second.records(2).await.into_iter().find(|(partition, _)| *partition == moved).unwrap();
    assert_eq!(first_of_moved.1.offset, 1);
}

/// A member whose session ended without its knowledge: it can still append, and cannot record progress.
pub async fn a_zombie_cannot_commit_and_its_late_produce_is_only_a_record(with: &Instance) {
    let topic = with.create("t", 1).await;
    with.append(&topic, 0, "work").await;
    let mut zombie = with.join(&topic, "a").await;
    zombie.started(1).await;
    zombie.records(1).await;
    with.faults.end_session(&with.request(&topic, "a").group, &topic, "a").await;
    let mut heir = with.join(&topic, "b").await;
    heir.started(1).await;
    assert_eq!(heir.values(1).await, ["work"]);
    heir.commit(0, 1, "heir").await.unwrap();
    // Appending needs no membership: this is why claims exist.
    with.append(&topic, 0, "late").await;
    let refused = zombie.commit(0, 0, "zombie").await;
    assert!(matches!(refused, Err(LogError::NotOwned(0) | LogError::Fenced)), "{refused:?}");
    assert_eq!(heir.member.committed(0).await.unwrap().unwrap().metadata, "heir");
    assert_eq!(heir.values(1).await, ["late"]);
    // It learns of its loss at its next look.
    assert!(matches!(zombie.event().await, Ok(GroupEvent::Revoked(_)) | Err(LogError::Fenced)));
    assert!(!zombie.member.ownership().holds(0));
}

/// The same name joining again is the same member restarted: it takes over at once, and the old one is fenced.
pub async fn a_name_that_joins_again_fences_its_namesake(with: &Instance) {
    let topic = with.create("t", 2).await;
    let mut old = with.join(&topic, "a").await;
    old.started(2).await;
    let mut new = with.join(&topic, "a").await;
    assert_eq!(new.started(2).await, [0, 1]);
    assert!(old.member.ownership().partitions().is_empty() || old.event().await.is_err());
    assert!(old.member.ownership().partitions().is_empty());
    assert!(matches!(old.event().await, Err(LogError::Fenced)));
    let refused = old.commit(0, 0, "").await;
    assert!(matches!(refused, Err(LogError::Fenced | LogError::NotOwned(0))), "{refused:?}");
    drop(old);
    new.hears_nothing().await;
    assert_eq!(new.member.ownership().partitions(), [0, 1]);
}

/// Who leaves makes nobody wait.
pub async fn leaving_hands_on_at_once(with: &Instance) {
    let topic = with.create("t", 4).await;
    let (first, mut second, revoked) = two_of_four(with, &topic).await;
    let ownership = first.member.ownership();
    first.member.leave().await;
    assert!(ownership.partitions().is_empty());
    assert_eq!(second.assigned(4).await, [0, 1, 2, 3]);
    assert_eq!(revoked.len(), 2);
}

/// Paused means silent and still a member.
pub async fn paused_partitions_are_silent_until_resumed(with: &Instance) {
    let topic = with.create("t", 2).await;
    let mut user = with.join(&topic, "a").await;
    user.started(2).await;
    user.member.pause(&[0]);
    with.append(&topic, 0, "paused").await;
    with.append(&topic, 1, "open").await;
    assert_eq!(user.values(1).await, ["open"]);
    user.hears_nothing().await;
    user.commit(0, 0, "").await.unwrap();
    user.member.resume(&[0]);
    assert_eq!(user.values(1).await, ["paused"]);
}

/// An error hides whether the commit stands; asking again settles it; the lease counts answers, not wishes.
pub async fn a_lost_commit_answer_renews_no_lease(with: &Instance) {
    let topic = with.create("t", 1).await;
    with.append(&topic, 0, "x").await;
    let mut user = with.join(&topic, "a").await;
    user.started(1).await;
    user.records(1).await;
    user.commit(0, 0, "before").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let age = user.member.ownership().lease_age();
    with.faults.lose_commit_answer().await;
    assert!(matches!(user.commit(0, 1, "lost").await, Err(LogError::Unavailable(_))));
    assert!(user.member.ownership().lease_age() >= age);
    let metadata = user.member.committed(0).await.unwrap().unwrap().metadata;
    assert!(metadata == "before" || metadata == "lost");
    let asked = Instant::now();
    user.commit(0, 1, "again").await.unwrap();
    let renewed = user.member.ownership().lease_age();
    assert!(renewed <= asked.elapsed(), "{renewed:?}");
    assert_eq!(user.member.committed(0).await.unwrap().unwrap().metadata, "again");
}

/// Idle members keep their lease by commits; without them it ages, whatever `next` says.
pub async fn a_lease_ages_until_a_commit_is_acknowledged(with: &Instance) {
    let topic = with.create("t", 1).await;
    let mut user = with.join(&topic, "a").await;
    user.started(1).await;
    user.commit(0, 0, "").await.unwrap();
    user.hears_nothing().await;
    let aged = user.member.ownership().lease_age();
    assert!(aged >= SILENCE, "{aged:?}");
    // However long the commit takes: the lease is no older than the question that renewed it.
    let asked = Instant::now();
    user.commit(0, 0, "").await.unwrap();
    let renewed = user.member.ownership().lease_age();
    assert!(renewed <= asked.elapsed(), "{renewed:?}");
}

/// A commit that retention has overtaken: an error for inputs of promises, the first kept record for views.
pub async fn a_position_that_is_gone_is_an_error_or_the_earliest_as_asked(with: &Instance) {
    let topic = with.create("t", 1).await;
    for index in 0..5 {
        with.append(&topic, 0, &index.to_string()).await;
    }
    let mut user = with.join(&topic, "a").await;
    user.assigned(1).await;
    user.commit(0, 1, "").await.unwrap();
    with.faults.delete_before(&TopicPartition::new(topic.as_str(), 0), 3).await;
    user.member.start(0, None).await.unwrap();
    match user.event().await {
        Err(LogError::OutOfRange { offset: 1, first: 3, .. }) => {}
        other => panic!("{other:?}"),
    }
    user.member.leave().await;
    let request = JoinGroup { out_of_range: OutOfRange::Earliest, ..with.request(&topic, "b") };
    let mut user = with.join_as(request).await;
    user.started(1).await;
    assert_eq!(user.values(2).await, ["3", "4"]);
}

/// A delivery is at most as large as asked, and every partition gets its turn.
pub async fn deliveries_are_limited_and_no_partition_starves(with: &Instance) {
    let topic = with.create("t", 3).await;
    for index in 0..30 {
        with.append(&topic, index % 3, &index.to_string()).await;
    }
    let mut user = with.join_as(JoinGroup { max_batch: 2, ..with.request(&topic, "a") }).await;
    user.assigned(3).await;
    // One after the other begins to flow and is held back: then something of each is there, however slow the log is.
    let mut received = [0_usize; 3];
    for partition in 0..3 {
        user.member.start(partition, None).await.unwrap();
        let (from, count) = delivery_of_two(&mut user).await;
        assert_eq!(from, partition);
        received[partition as usize] += count;
        user.member.pause(&[partition]);
    }
    user.member.resume(&[0, 1, 2]);
    let mut served = Vec::new();
    while received.iter().sum::<usize>() < 30 {
        let (from, count) = delivery_of_two(&mut user).await;
        received[from as usize] += count;
        served.push(from);
    }
    assert_eq!(received, [10; 3]);
    for partition in 0..3 {
        assert!(served[..6].contains(&partition), "{served:?}");
    }
}

/// The next delivery's partition and size, which is at most two.
async fn delivery_of_two(user: &mut User) -> (u32, usize) {
    match user.event().await.unwrap() {
        GroupEvent::Records { partition, records } => {
            assert!((1..=2).contains(&records.len()), "{}", records.len());
            (partition, records.len())
        }
        other => panic!("{other:?}"),
    }
}
