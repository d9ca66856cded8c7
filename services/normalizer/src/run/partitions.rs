//! Partitions that come and go: each is begun behind its last stretch, and ended with what is done committed.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use waybill_log::{Commit, ErrorClass, GroupMember, ReadFrom, TopicPartition};
use waybill_schemas::ShipmentKey;

use super::{Hand, LOG_RETRY, Shell, within};
use crate::{NormalizerError, records::Brief, repeats::Repeats, worker::Worker};

/// Bytes of one read of the last stretch.
const STRETCH_BYTES: usize = 4 * 1024 * 1024;

impl Shell {
    /// Begins work on what was assigned; where the log does not answer, again after a pause, in which the turns go on: those
    /// that were begun need them.
    pub(super) async fn take_wanted(&mut self, member: &mut dyn GroupMember) -> Result<(), NormalizerError> {
        if !self.wanted.is_empty() && Instant::now() < self.wanted_at {
            return Ok(());
        }
        while let Some(partition) = self.next_wanted() {
            match self.take(member, &[partition]).await {
                Ok(()) => self.health.beat(),
                Err(NormalizerError::Log(error)) if error.class() == ErrorClass::Retry => {
                    tracing::warn!(%error, partition, "normalizer.partition_not_taken");
                    self.wanted.insert(partition);
                    self.health.not_ready(&error.to_string());
                    self.wanted_at = Instant::now() + self.pauses.next().unwrap_or(LOG_RETRY.max);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.pauses.reset();
        self.healthy();
        Ok(())
    }

    /// The next to begin, in turn: one that cannot be begun holds up no other.
    fn next_wanted(&mut self) -> Option<u32> {
        let next = self.wanted.range(self.wanted_from..).next().or_else(|| self.wanted.first()).copied()?;
        self.wanted_from = next.saturating_add(1);
        self.wanted.remove(&next).then_some(next)
    }

    /// Begins work on assigned partitions, each behind its last stretch.
    async fn take(&mut self, member: &mut dyn GroupMember, partitions: &[u32]) -> Result<(), NormalizerError> {
        for &partition in partitions {
            let at = TopicPartition::new(Arc::clone(&self.results), partition);
            let limit = self.config.request_timeout();
            let committed = within(limit, member.committed(partition)).await?;
            let bounds = within(limit, self.log.bounds(&at)).await?;
            let position = committed.map_or(bounds.first, |commit| commit.offset);
            let repeats = self.last_stretch(&at, bounds.first, position).await?;
            match member.start(partition, Some(position)).await {
                Ok(()) => {}
                // Gone again already; the revoke follows.
                Err(error) if error.class() == ErrorClass::Lost => continue,
                Err(error) => return Err(error.into()),
            }
            self.tracker.assign(partition, position);
            let (queue, work) = mpsc::channel(self.config.max_waiting.div_ceil(self.config.max_batch));
            let stop = CancellationToken::new();
            let pulse = self.health.pulse(&format!("worker {partition}"));
            let (shared, writes) = (Arc::clone(&self.shared), self.health.writes());
            let worker = Worker { shared, partition, repeats, stop: stop.clone(), pulse, writes };
            let task = tokio::spawn(worker.run(work, self.told.clone()));
            self.hands.insert(partition, Hand { queue, stop, task, paused: false });
            tracing::info!(partition, position, "normalizer.partition_taken");
        }
        Ok(())
    }

    /// The attempts of the results just before a position.
    async fn last_stretch(&self, at: &TopicPartition, first: u64, position: u64) -> Result<Repeats, NormalizerError> {
        let window = self.config.repeat_window;
        let most = usize::try_from(window).unwrap_or(usize::MAX).saturating_mul(2);
        let mut repeats = Repeats::new(most);
        let mut offset = position.saturating_sub(window).max(first);
        while offset < position {
            let read = ReadFrom {
                at: at.clone(),
                offset,
                max_records: self.config.max_batch,
                max_bytes: STRETCH_BYTES,
                wait: Duration::ZERO,
            };
            let batch = within(self.config.request_timeout(), self.log.read(read)).await?;
            for record in batch.records.iter().filter(|record| record.offset < position) {
                let brief = record.value.as_deref().and_then(|value| serde_json::from_slice::<Brief>(value).ok());
                if let Some(Brief { carrier, number, attempt }) = brief {
                    let _ = repeats.note(&ShipmentKey::new(carrier, number), attempt);
                }
            }
            if batch.next_offset <= offset {
                break;
            }
            offset = batch.next_offset;
            self.health.beat();
        }
        Ok(repeats)
    }

    /// Ends work on partitions: the piece under way is finished, what is done is committed, the rest is left to whoever
    /// comes next.
    pub(super) async fn let_go(
        &mut self,
        member: &mut dyn GroupMember,
        partitions: &[u32],
    ) -> Result<(), NormalizerError> {
        let hands: Vec<(u32, Hand)> =
            partitions.iter().filter_map(|partition| Some((*partition, self.hands.remove(partition)?))).collect();
        for (_, hand) in &hands {
            hand.stop.cancel();
        }
        let deadline = Instant::now() + self.config.drain();
        let mut broken = None;
        for (partition, mut hand) in hands {
            drop(hand.queue);
            match self.listening(tokio::time::timeout_at(deadline, &mut hand.task)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => broken = Some(NormalizerError::Broken(partition)),
                Err(_) => {
                    hand.task.abort();
                    tracing::warn!(partition, "normalizer.drain_timed_out");
                }
            }
        }
        let listened = self.listen(member);
        let commits: Vec<Commit> = partitions.iter().filter_map(|partition| self.position(*partition)).collect();
        let committed = self.commit_these(member, &commits).await;
        for partition in partitions {
            let _ = self.tracker.revoke(*partition);
            tracing::info!(partition, "normalizer.partition_released");
        }
        broken.map_or(Ok(()), Err).and(listened).and(committed)
    }
}
