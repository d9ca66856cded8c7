//! Partitions that cannot be read on where they stand, or that have stopped without a word.

use std::sync::Arc;

use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::{Member, Started};
use crate::seam::{LogError, OutOfRange};

impl Member {
    /// A partition cannot be read on where it stands. Until that is mended librdkafka fetches nothing of it, and says so only
    /// once: so it is tried again with every look.
    pub(super) async fn repair(&mut self, partition: u32, code: Code) -> Result<(), LogError> {
        let Some(Started { cursor, failed, .. }) = self.cursors.get_mut(&partition) else { return Ok(()) };
        let at = cursor.at().clone();
        let offset = cursor.position();
        if !matches!(code, Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset) {
            // librdkafka goes on by itself when it can.
            tracing::warn!(topic = %at.topic, partition, %code, "kafka.fetch_failed");
            *failed = None;
            return Ok(());
        }
        *failed = Some(code);
        if self.log.faults.look_is_refused() {
            return Err(LogError::Unavailable("a look at a partition's ends was refused".to_owned()));
        }
        let bounds = self.log.doubted(&at.topic, self.log.reads.bounds(&at).await)?;
        if (bounds.first..=bounds.next).contains(&offset) {
            cursor.reposition(offset)?;
            *failed = None;
            return Ok(());
        }
        let (first, next) = (bounds.first, bounds.next);
        match self.out_of_range {
            OutOfRange::Earliest => {
                tracing::warn!(topic = %at.topic, partition, offset, first, next, "log.position_gone");
                cursor.reposition(first)?;
                *failed = None;
                Ok(())
            }
            OutOfRange::Fail => {
                self.cursors.remove(&partition);
                let error = LogError::OutOfRange { topic: at.topic.to_string(), partition, offset, first, next };
                self.broken.insert(partition, error.clone());
                Err(error)
            }
        }
    }

    /// Looks now and then whether partitions that bring nothing have nothing to bring. The broker is asked beside: one that
    /// is away holds up nobody.
    pub(super) fn look_at_silence(&mut self) {
        while let Some(answer) = self.looking.try_join_next() {
            if let Ok(Some((partition, end))) = answer {
                self.judge(partition, end);
            }
        }
        if Instant::now() < self.look_at {
            return;
        }
        self.look_at = self.log.reads.next_look();
        if !self.looking.is_empty() {
            return;
        }
        for started in self.cursors.values_mut() {
            if started.failed.is_none() && !started.cursor.has_some() {
                let (log, at) = (Arc::clone(&self.log), started.cursor.at().clone());
                // Together: the broker is asked once for all.
                self.looking.spawn(async move {
                    let bounds = log.reads.bounds(&at).await.ok()?;
                    Some((at.partition, bounds.next))
                });
            }
        }
    }

    fn judge(&mut self, partition: u32, end: u64) {
        let Some(started) = self.cursors.get_mut(&partition) else { return };
        if started.failed.is_none() && started.cursor.is_stuck(end) {
            let offset = started.cursor.position();
            tracing::warn!(topic = %self.topic, partition, offset, end, "kafka.cursor_stuck");
            // As if librdkafka had said that it stands nowhere.
            started.failed = Some(Code::NoOffset);
        }
    }
}
