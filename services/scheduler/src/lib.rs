//! Hands out due tracking numbers within each carrier's politeness budget.
//!
//! Commands and outcomes come in, requests go out; between them one record a number, kept in memory and in
//! `waybill.schedule`. The rules are in `book` (pure: no clock, no log), timing in [`wheel`], what is durable when in
//! `desk`, how a new owner finds everything again in `takeover`, one partition's loop in `partition`, the group's in
//! `member`.
//!
//! SCH-1: a number once accepted is polled until terminal, expired or stopped, through any crash or hand-over.
//! SCH-2: attempts of one number never overlap; a zombie's record never wins.

mod book;
mod codec;
mod config;
mod desk;
mod entry;
mod error;
mod member;
mod observe;
mod partition;
mod tail;
mod takeover;
pub mod terms;
mod traces;
pub mod wheel;
mod why;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use waybill_log::{JoinGroup, OutOfRange, SharedLog};
use waybill_runtime::{Clocks, Health, telemetry::watch_promises};
use waybill_schemas::{
    layout::Layout,
    topics::{TopicPrefix, names},
};

pub use self::{
    config::SchedulerConfig,
    error::SchedulerError,
    terms::{CarrierTerms, Carriers, Switch},
};

/// What a scheduler works with.
pub struct Deps {
    /// The log.
    pub log: SharedLog,
    /// How topics are named.
    pub topics: TopicPrefix,
    /// Where numbers live.
    pub layout: Layout,
    /// The time.
    pub clocks: Clocks,
    /// What is known of carriers.
    pub carriers: Arc<dyn Carriers>,
    /// This member's stable name.
    pub member: String,
    /// Where it tells how it is.
    pub health: Health,
    /// Settings.
    pub config: SchedulerConfig,
}

/// Schedules until `shutdown`, then settles what is applied, commits and leaves the group, within seconds.
///
/// # Errors
/// [`SchedulerError`]: a setting or the layout is wrong, or the log refused for good.
pub async fn run(deps: Deps, shutdown: CancellationToken) -> Result<(), SchedulerError> {
    deps.config.check()?;
    watch_promises(&["SCH-1"]);
    for name in [names::OUTCOMES, names::COMMANDS, names::SCHEDULE, names::FETCH_REQUESTS, names::CARRIERS] {
        let found = deps.log.describe(&deps.topics.of(name)).await?;
        if found.partitions != deps.layout.partitions {
            let (topic, actual, layout) = (found.name, found.partitions, deps.layout.partitions);
            return Err(SchedulerError::Layout { topic, actual, layout });
        }
    }
    let join = JoinGroup {
        group: deps.config.group.clone(),
        topic: deps.topics.of(names::OUTCOMES),
        member: deps.member.clone(),
        out_of_range: OutOfRange::Fail,
        drain_budget: deps.config.drain() * 2,
        max_batch: 500,
    };
    let member = deps.log.join(join).await?;
    member::Membership::new(&deps, member).run(shutdown).await
}
