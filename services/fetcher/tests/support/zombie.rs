//! The law of SCH-2 at the fetcher, on whatever log a world stands.

use waybill_log::{TopicPartition, claims};
use waybill_schemas::{OutcomeClass, topics::names};

use super::{Door, World};

/// What a scheduler writes behind its successor's claim is answered `expired` and never reaches the carrier.
pub async fn a_zombies_requests_are_expired(world: &World, door: &Door) {
    let at = TopicPartition::new(world.deps.topics.of(names::FETCH_REQUESTS), 0);
    let old = claims::claim(&*world.log, &at, "scheduler-1").await.unwrap();
    world.send(&[world.poll("acme", "ACME0001", 1)], claims::epoch_headers(old)).await;
    let new = claims::claim(&*world.log, &at, "scheduler-2").await.unwrap();
    world.send(&[world.poll("acme", "ACME0001", 2)], claims::epoch_headers(old)).await;
    world.send(&[world.poll("acme", "ACME0001", 3)], claims::epoch_headers(new)).await;
    let running = world.start();
    let mut results = world.results(3).await;
    running.stop().await;
    results.sort_by_key(|result| result.request.attempt);
    let classes: Vec<OutcomeClass> = results.iter().map(|result| result.class).collect();
    assert_eq!(classes, [OutcomeClass::Tracked, OutcomeClass::Expired, OutcomeClass::Tracked]);
    // A later life knows the claim although it begins behind it.
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 4)], claims::epoch_headers(old)).await;
    assert_eq!(world.results(4).await[3].class, OutcomeClass::Expired);
    running.stop().await;
    assert_eq!(door.arrivals().len(), 2, "nothing of the zombie's reached the carrier");
}
