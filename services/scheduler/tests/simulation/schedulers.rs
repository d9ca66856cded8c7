//! The schedulers under test, how one is killed, and what a zombie of one goes on writing.

use std::sync::Arc;

use bytes::Bytes;
use rand::{Rng, rngs::StdRng};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use waybill_log::{
    NewRecord, Record,
    claims::{self, ClaimTracker},
};
use waybill_runtime::{Health, poison::PoisonLimits};
use waybill_scheduler::{CarrierTerms, Carriers, Deps, SchedulerConfig, SchedulerError, Switch};
use waybill_schemas::{
    CarrierSlug,
    fetch::FetchRequest,
    politeness::Budget,
    topics::{TopicPrefix, names},
};

use crate::{
    CARRIERS, PARTITIONS,
    world::{World, append, at, read_all},
};

struct Terms;

impl Carriers for Terms {
    fn policy(&self, carrier: &CarrierSlug) -> Option<CarrierTerms> {
        let index = CARRIERS.iter().position(|known| *known == carrier.as_str())?;
        let budget = Budget { rate_per_second: 6.0 + 4.0 * index as f64, min_interval_s: 900, ..Budget::default() };
        Some(CarrierTerms {
            budget,
            requests_per_attempt: 1 + (index as u32 % 2),
            numbers_per_attempt: 1,
            switch: Switch::On,
        })
    }
}

/// A scheduler that can be killed.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<Result<(), SchedulerError>>,
    pub(crate) shutdown: CancellationToken,
}

pub(crate) fn start(world: &World, group: &str, member: &str) -> Running {
    let shutdown = CancellationToken::new();
    let deps = Deps {
        log: Arc::clone(&world.log),
        topics: TopicPrefix::default(),
        layout: world.layout.clone(),
        clocks: world.clocks,
        carriers: Arc::new(Terms),
        member: member.to_owned(),
        health: Health::default(),
        config: SchedulerConfig {
            group: group.to_owned(),
            poison: PoisonLimits { records: 1_000_000, ..PoisonLimits::default() },
            ..SchedulerConfig::default()
        },
    };
    let task = tokio::spawn(waybill_scheduler::run(deps, shutdown.clone()));
    Running { task, shutdown }
}

impl Running {
    /// As kill -9 does: in the middle of whatever it was doing.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let ended = self.task.await;
        assert!(ended.is_err() || ended.unwrap().is_ok(), "a scheduler ended by itself");
    }
}

/// What a zombie does: writes again, behind the newest claim, what it once wrote under an epoch that is over.
pub(crate) async fn haunt(world: &World, rng: &mut StdRng) {
    let partition = rng.random_range(0..PARTITIONS);
    let name = if rng.random_bool(0.7) { names::SCHEDULE } else { names::FETCH_REQUESTS };
    let place = at(name, partition);
    let records = read_all(&world.log, &place).await;
    let mut claims = ClaimTracker::default();
    for record in &records {
        let _ = claims.observe(record).unwrap();
    }
    let over: Vec<&Record> = records
        .iter()
        .filter(|record| !claims::is_claim(record) && claims::epoch_of(record).unwrap() < claims.highest())
        .collect();
    for _ in 0..rng.random_range(1..6) {
        if over.is_empty() {
            return;
        }
        let old = over[rng.random_range(0..over.len())];
        let mut value = old.value.clone();
        if name == names::FETCH_REQUESTS {
            // A new attempt of its own.
            let mut request: FetchRequest = serde_json::from_slice(old.value.as_ref().unwrap()).unwrap();
            request.attempt = world.clocks.wall().ms();
            value = Some(Bytes::from(serde_json::to_vec(&request).unwrap()));
        }
        let record = NewRecord { at: place.clone(), key: old.key.clone(), value, headers: old.headers.clone() };
        append(&world.log, record).await;
    }
}
