//! The log that a command works on: Kafka where it is configured, else a data directory's, which no process may hold.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use waybill_adapters::Catalog;
use waybill_log::{EmbeddedLog, Log, LogError, ReadFrom, Record, SharedLog, TopicPartition};
use waybill_runtime::Clocks;
use waybill_schemas::topics::TopicPrefix;

use crate::{config::Config, datadir::DataDir, parts};

/// How long one read of what is there may wait for it.
const READ_WAIT: Duration = Duration::from_millis(500);
/// Most bytes of one read.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// See the module.
pub(crate) struct CommandLog {
    /// The log.
    pub log: SharedLog,
    /// Names of topics.
    pub topics: TopicPrefix,
    embedded: Option<(Arc<EmbeddedLog>, DataDir)>,
}

impl CommandLog {
    /// Opens it.
    ///
    /// # Errors
    /// When the broker does not answer, the directory holds no log, or another process holds it.
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        let topics: TopicPrefix = config.log.prefix.parse().context("log.prefix")?;
        if let Some(options) = &config.log.kafka {
            let log = Arc::new(parts::connect(options, Duration::ZERO).await?);
            return Ok(Self { log, topics, embedded: None });
        }
        if !config.data_dir.join("log").exists() {
            bail!(
                "{} holds no log; name the data directory with --data-dir, or set log.kafka.brokers",
                config.data_dir.display()
            );
        }
        let dir = DataDir::take(&config.data_dir).context(
            "records of a running process are read through its API (/v1/shipments) or SQL; the topics are its own",
        )?;
        let clocks = Clocks::scaled(dir.any_journey()?);
        let catalog = Catalog::load(&config.adapters)?;
        let (embedded, opened) = parts::open_embedded(config, &dir, clocks, &catalog).await?;
        Ok(Self { log: opened.log, topics, embedded: Some((embedded, dir)) })
    }

    /// Whether other processes may append meanwhile.
    pub(crate) fn is_shared(&self) -> bool {
        self.embedded.is_none()
    }

    /// Closes it in order.
    pub(crate) async fn close(self) {
        if let Some((embedded, _dir)) = self.embedded {
            embedded.close().await;
        }
    }
}

/// Reads `[from, to)` of a partition, record by record, until `each` has enough.
///
/// # Errors
/// What the log reports, or what `each` answers.
pub(crate) async fn read_range(
    log: &dyn Log,
    at: &TopicPartition,
    (from, to): (u64, u64),
    mut each: impl FnMut(&Record) -> Result<()>,
) -> Result<()> {
    let mut offset = from;
    while offset < to {
        let read = ReadFrom { at: at.clone(), offset, max_records: 1_000, max_bytes: READ_BYTES, wait: READ_WAIT };
        let batch = match log.read(read).await {
            // Retention went on meanwhile.
            Err(LogError::OutOfRange { first, .. }) if first > offset => {
                offset = first;
                continue;
            }
            other => other?,
        };
        for record in batch.records.iter().filter(|record| record.offset < to) {
            each(record)?;
        }
        if batch.next_offset <= offset {
            break;
        }
        offset = batch.next_offset;
    }
    Ok(())
}
