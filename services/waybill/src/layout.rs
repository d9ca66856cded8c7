//! The layout: recorded once in `waybill.policies`, checked by every process at start.
//!
//! Two processes that record it at once do no harm: each reads the topic again, and the first record that stands there is
//! the layout; whoever wrote another one after it writes that one back and then checks itself against it.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use waybill_log::{Headers, NewRecord, ReadFrom, SharedLog, TopicPartition};
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
    let recorded = match policies.get(LAYOUT_KEY) {
        Some(recorded) => recorded,
        None => record(log, topics, &ours).await?,
    };
    let recorded: Layout = serde_json::from_value(recorded).context("the recorded layout cannot be read")?;
    check(&recorded, &ours)?;
    Ok(recorded)
}

/// Checks the layout of this process against the recorded one, where there is one.
///
/// # Errors
/// When they differ.
pub(crate) fn agrees(policies: &Table, ours: &Layout) -> Result<()> {
    let Some(recorded) = policies.get(LAYOUT_KEY) else { return Ok(()) };
    check(&serde_json::from_value(recorded).context("the recorded layout cannot be read")?, ours)
}

fn check(recorded: &Layout, ours: &Layout) -> Result<()> {
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
    Ok(())
}

/// Records our layout; answers the one that is in force then.
async fn record(log: &SharedLog, topics: &TopicPrefix, ours: &Layout) -> Result<Value> {
    let ours = serde_json::to_value(ours)?;
    write(log, topics, &ours).await?;
    let written = all(log, topics).await?;
    let first = written.first().context("the layout was recorded and is not there")?;
    if written.last() != Some(first) {
        write(log, topics, first).await?;
    }
    Ok(first.clone())
}

async fn write(log: &SharedLog, topics: &TopicPrefix, layout: &Value) -> Result<()> {
    let record = NewRecord {
        at: TopicPartition::new(topics.of(names::POLICIES), 0),
        key: Some(LAYOUT_KEY.into()),
        value: Some(serde_json::to_vec(layout)?.into()),
        headers: Headers::new(),
    };
    for answer in log.produce(vec![record]).await {
        answer.context("the layout cannot be recorded")?;
    }
    Ok(())
}

/// Every layout record that is kept, in order.
async fn all(log: &SharedLog, topics: &TopicPrefix) -> Result<Vec<Value>> {
    let at = TopicPartition::new(topics.of(names::POLICIES), 0);
    let bounds = log.bounds(&at).await?;
    let (mut offset, mut found) = (bounds.first, Vec::new());
    while offset < bounds.next {
        let read = ReadFrom {
            at: at.clone(),
            offset,
            max_records: 1_000,
            max_bytes: 1 << 20,
            wait: std::time::Duration::from_millis(200),
        };
        let batch = log.read(read).await?;
        let layouts = batch.records.iter().filter(|record| record.key_str() == Some(LAYOUT_KEY));
        found.extend(layouts.filter_map(|record| serde_json::from_slice(record.value.as_deref()?).ok()));
        if batch.next_offset <= offset {
            break;
        }
        offset = batch.next_offset;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use waybill_log::{EmbeddedLog, EmbeddedOptions};
    use waybill_schemas::WallMs;

    use super::*;
    use crate::parts::new_topics;

    async fn empty() -> (SharedLog, TopicPrefix) {
        let options = EmbeddedOptions::new(Arc::new(|| WallMs::new(1)));
        let log: SharedLog = Arc::new(EmbeddedLog::in_memory(options));
        let topics = TopicPrefix::default();
        log.create_topics(&new_topics(&topics, 4)).await.unwrap();
        (log, topics)
    }

    fn layout(partitions: u32) -> Layout {
        Layout { partitions, budgets: Default::default() }
    }

    async fn settled(log: &SharedLog, topics: &TopicPrefix, ours: Layout) -> Result<Layout> {
        let (policies, _) = Table::read(log, &topics.of(names::POLICIES), 1).await?;
        settle(log, topics, &policies, ours).await
    }

    #[tokio::test]
    async fn a_process_with_another_layout_is_refused_in_a_sentence() {
        let (log, topics) = empty().await;
        assert_eq!(settled(&log, &topics, layout(4)).await.unwrap(), layout(4));
        let refused = settled(&log, &topics, layout(8)).await.unwrap_err().to_string();
        assert!(refused.contains("set log.partitions to 4"), "{refused}");
        let mut other = layout(4);
        other.budgets.insert("acme".parse().unwrap(), "shared".parse().unwrap());
        let refused = settled(&log, &topics, other).await.unwrap_err().to_string();
        assert!(refused.contains("acme") && refused.contains("shared"), "{refused}");
    }

    #[tokio::test]
    async fn two_processes_that_record_it_at_once_agree() {
        let (log, topics) = empty().await;
        // Both have read an empty topic.
        let nothing = Table::default();
        assert_eq!(settle(&log, &topics, &nothing, layout(4)).await.unwrap(), layout(4));
        assert_eq!(settle(&log, &topics, &nothing, layout(4)).await.unwrap(), layout(4));
        // One that would have recorded another finds the first, is refused, and leaves the first in force.
        assert!(settle(&log, &topics, &nothing, layout(8)).await.is_err());
        assert_eq!(settled(&log, &topics, layout(4)).await.unwrap(), layout(4));
    }
}
