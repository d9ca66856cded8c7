#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::sync::Arc;

use waybill_log::{
    DeadLetters, EmbeddedLog, EmbeddedOptions, SharedLog,
    records::{Reason, header},
};

use super::*;
use crate::parts::new_topics;

struct World {
    log: SharedLog,
    topics: TopicPrefix,
}

impl World {
    async fn new() -> Self {
        let log: SharedLog = Arc::new(EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(Clocks::system_now))));
        let topics: TopicPrefix = "shop".parse().unwrap();
        log.create_topics(&new_topics(&topics, 2)).await.unwrap();
        Self { log, topics }
    }

    fn at(&self, topic: &str, partition: u32) -> TopicPartition {
        TopicPartition::new(self.topics.of(topic), partition)
    }

    async fn put(&self, at: &TopicPartition, key: &'static str, value: &'static str) -> u64 {
        let headers = vec![header("traceparent", "00-1"), header("waybill-epoch", "3")];
        let record = NewRecord { at: at.clone(), key: Some(key.into()), value: Some(value.into()), headers };
        produce_all(self.log.as_ref(), vec![record]).await.unwrap()[0].offset
    }

    /// A record, and its dead letter.
    async fn bury(&self, at: &TopicPartition, service: &str, (key, value): (&'static str, &'static str)) {
        let offset = self.put(at, key, value).await;
        let record = self.log.record_at(at, offset).await.unwrap().unwrap();
        let reason = Reason { code: "unreadable", detail: "it is no JSON", service };
        DeadLetters::new(&self.topics).bury(self.log.as_ref(), at, &record, &reason).await.unwrap();
    }

    async fn records(&self, at: &TopicPartition) -> Vec<Record> {
        let bounds = self.log.bounds(at).await.unwrap();
        let mut found = Vec::new();
        read_range(self.log.as_ref(), at, (bounds.first, bounds.next), |record| {
            found.push(record.clone());
            Ok(())
        })
        .await
        .unwrap();
        found
    }

    async fn replay(&self, act: Act) -> String {
        let (wanted, mut out) = (Wanted { reason: None, limit: 1_000 }, Vec::new());
        replay_on(self.log.as_ref(), &self.topics, (&wanted, act), &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }
}

#[tokio::test]
async fn a_replay_writes_the_original_back_once_and_a_dry_run_nothing() {
    let world = World::new().await;
    let commands = world.at(names::COMMANDS, 1);
    world.bury(&commands, "scheduler", ("acme:N1234", "{ broken")).await;
    assert!(world.replay(Act::Say).await.contains("1 would be written back, 0 cannot be"));
    assert_eq!(world.records(&commands).await.len(), 1);
    assert!(world.replay(Act::Do).await.contains("1 written back"));
    let records = world.records(&commands).await;
    let same = |record: &Record| (record.key.clone(), record.value.clone(), record.headers.clone());
    assert_eq!(records.len(), 2);
    assert_eq!(same(&records[0]), same(&records[1]), "byte for byte, headers and all");
    let again = world.replay(Act::Do).await;
    assert!(again.contains("0 written back, 0 cannot be, 1 were before"), "{again}");
    assert_eq!(world.records(&commands).await.len(), 2);
}

#[tokio::test]
async fn sch_2_attempts_and_claimed_state_are_never_written_back() {
    let world = World::new().await;
    for (topic, service) in [
        (names::FETCH_REQUESTS, "fetcher"),
        (names::FETCH_RESULTS, "normalizer"),
        (names::SCHEDULE, "store"),
        (names::CARRIERS, "store"),
        (names::COMMANDS, "store"),
    ] {
        world.bury(&world.at(topic, 0), service, ("acme:N1234", "x")).await;
    }
    let said = world.replay(Act::Do).await;
    assert!(said.contains("0 written back, 5 cannot be"), "{said}");
    for topic in [names::FETCH_REQUESTS, names::FETCH_RESULTS, names::SCHEDULE, names::CARRIERS, names::COMMANDS] {
        assert_eq!(world.records(&world.at(topic, 0)).await.len(), 1, "{topic}");
    }
}

#[tokio::test]
async fn of_a_compacted_topic_only_the_newest_of_its_key_is_written_back() {
    let world = World::new().await;
    let shipments = world.at(names::SHIPMENTS, 0);
    world.bury(&shipments, "store", ("acme:OLD1", "1")).await;
    world.bury(&shipments, "store", ("acme:NEW1", "1")).await;
    world.put(&shipments, "acme:OLD1", "2").await;
    let said = world.replay(Act::Do).await;
    assert!(said.contains("1 written back, 1 cannot be"), "{said}");
    let last = |records: &[Record], key: &str| {
        let found = records.iter().rfind(|record| record.key_str() == Some(key));
        found.and_then(|record| record.value.clone()).unwrap()
    };
    let records = world.records(&shipments).await;
    assert_eq!((records.len(), last(&records, "acme:OLD1"), last(&records, "acme:NEW1")), (4, "2".into(), "1".into()));
}

#[tokio::test]
async fn a_newer_record_that_came_in_between_is_written_again_behind_ours() {
    let world = World::new().await;
    let shipments = world.at(names::SHIPMENTS, 0);
    let key: Option<Bytes> = Some("acme:N1".into());
    let from = world.put(&shipments, "acme:N1", "theirs").await;
    let own = world.put(&shipments, "acme:N1", "ours").await;
    let ours = BTreeMap::from([((shipments.clone(), key), own)]);
    let again = overtaken(world.log.as_ref(), &shipments, from, &ours).await.unwrap();
    assert_eq!(again.iter().map(|record| record.value.clone().unwrap()).collect::<Vec<_>>(), [Bytes::from("theirs")]);
    world.put(&shipments, "acme:N1", "theirs again").await;
    assert!(
        overtaken(world.log.as_ref(), &shipments, from, &ours).await.unwrap().is_empty(),
        "it stands behind anyway"
    );
}

#[tokio::test]
async fn a_list_names_places_and_never_keys() {
    let world = World::new().await;
    world.bury(&world.at(names::COMMANDS, 1), "scheduler", ("acme:SECRETNUMBER", "{ broken")).await;
    for form in [Form::Text, Form::Json] {
        let (wanted, mut out) = (Wanted { reason: Some("unreadable".to_owned()), limit: 10 }, Vec::new());
        list_of(world.log.as_ref(), &world.topics, (&wanted, form), &mut out).await.unwrap();
        let said = String::from_utf8(out).unwrap();
        assert!(said.contains("shop.commands") && said.contains("scheduler"), "{said}");
        assert!(!said.contains("SECRETNUMBER"), "SEC-1: {said}");
    }
    let (wanted, mut out) = (Wanted { reason: Some("other".to_owned()), limit: 10 }, Vec::new());
    list_of(world.log.as_ref(), &world.topics, (&wanted, Form::Json), &mut out).await.unwrap();
    assert!(out.is_empty());
}
