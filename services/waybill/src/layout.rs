//! The layout: recorded once in `waybill.policies`, checked by every process at start.

use anyhow::{Context, Result, bail};
use waybill_log::{Headers, NewRecord, SharedLog, TopicPartition};
use waybill_schemas::{
    layout::{LAYOUT_KEY, Layout},
    topics::{TopicPrefix, names},
};

use crate::follow::Table;

/// Checks the layout of this process against the recorded one, or records it when there is none yet.
///
/// # Errors
/// When they differ: numbers would be looked for where they do not live.
pub(crate) async fn settle(log: &SharedLog, topics: &TopicPrefix, policies: &Table, ours: Layout) -> Result<Layout> {
    if let Some(value) = policies.get(LAYOUT_KEY) {
        let recorded: Layout = serde_json::from_value(value).context("the recorded layout cannot be read")?;
        if recorded.partitions != ours.partitions {
            bail!(
                "the log was laid out with {} partitions and this process is configured for {}; set log.partitions to {}",
                recorded.partitions,
                ours.partitions,
                recorded.partitions
            );
        }
        for (carrier, budget) in &ours.budgets {
            if recorded.budget_of(carrier) != *budget {
                bail!(
                    "the carrier {carrier} spends the budget {} in the recorded layout and {budget} in its adapter; \
                     give the adapter its former budget back",
                    recorded.budget_of(carrier)
                );
            }
        }
        return Ok(recorded);
    }
    let record = NewRecord {
        at: TopicPartition::new(topics.of(names::POLICIES), 0),
        key: Some(LAYOUT_KEY.into()),
        value: Some(serde_json::to_vec(&ours)?.into()),
        headers: Headers::new(),
    };
    for answer in log.produce(vec![record]).await {
        answer.context("the layout cannot be recorded")?;
    }
    Ok(ours)
}
