//! Giving partitions away, in order (DESIGN §5, hand-over): nothing is sent any more → look-ups under way end or are given
//! up → their results are written → what is done is committed → the partition is released.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use waybill_log::Commit;

use super::{COMMIT_EVERY, Partition, Service, Serving, State};

/// How long look-ups under way may take to end when their partition goes.
pub(super) const DRAIN_LOOK_UPS: Duration = Duration::from_secs(3);

impl Service {
    pub(super) async fn revoked(&mut self, partitions: &[u32]) {
        for partition in partitions {
            if let Some(owned) = self.partitions.get(partition) {
                owned.standing.end();
            }
        }
        self.drain(partitions, DRAIN_LOOK_UPS).await;
        for partition in partitions {
            self.partitions.remove(partition);
            let _ = self.tracker.revoke(*partition);
        }
        self.member.release(partitions);
    }

    /// Lets look-ups under way end, at most for `patience`, and their results be written.
    pub(super) async fn drain(&mut self, partitions: &[u32], patience: Duration) {
        let mut trackers = Vec::new();
        for partition in partitions {
            if let Some(Partition { standing, state: State::Serving(serving), .. }) = self.partitions.get_mut(partition)
            {
                standing.closing.cancel();
                serving.budgets.clear();
                serving.workers.close();
                trackers.push(serving.workers.clone());
            }
        }
        let until = Instant::now() + patience;
        let idle = async {
            for tracker in &trackers {
                tracker.wait().await;
            }
        };
        tokio::pin!(idle);
        loop {
            tokio::select! {
                () = &mut idle => break,
                () = tokio::time::sleep_until(until) => break,
                Some(tickets) = self.done.recv() => {
                    for ticket in tickets {
                        let _ = self.tracker.complete(ticket);
                    }
                }
            }
        }
        for partition in partitions {
            if let Some(owned) = self.partitions.get(partition) {
                owned.standing.given_up.cancel();
            }
        }
        // Workers gone, each writer ends after its last result.
        let until = Instant::now() + COMMIT_EVERY;
        let mut commits = Vec::new();
        for partition in partitions {
            if let Some(owned) = self.partitions.get_mut(partition) {
                let before = std::mem::replace(&mut owned.state, State::Booting);
                if let State::Serving(serving) = before {
                    let Serving { answers, written, claims, .. } = *serving;
                    drop(answers);
                    commits.extend(self.flush(*partition, &written, claims.highest(), until).await);
                }
            }
        }
        // A revoked partition's commit may be refused; the next owner then answers some attempts again.
        if !commits.is_empty() {
            let _ = timeout(COMMIT_EVERY, self.member.commit(&commits)).await;
        }
        for partition in partitions {
            if let Some(owned) = self.partitions.get(partition) {
                owned.standing.end();
            }
        }
    }

    /// Waits for what the writer still has, however slowly the log takes it: what is left behind here is asked of the
    /// carrier once more by the next owner. Answers how far the partition can be committed.
    async fn flush(
        &mut self,
        partition: u32,
        written: &CancellationToken,
        claim: u64,
        until: Instant,
    ) -> Option<Commit> {
        loop {
            tokio::select! {
                biased;
                Some(tickets) = self.done.recv() => self.complete(tickets),
                // What is still in flight now was given up.
                () = written.cancelled() => break,
                () = tokio::time::sleep_until(until) => break,
            }
        }
        // Told between the look at the channel and the end.
        while let Ok(tickets) = self.done.try_recv() {
            self.complete(tickets);
        }
        let offset = self.tracker.processed(partition)?;
        Some(Commit { partition, offset, metadata: format!("{{\"claim\":{claim}}}") })
    }
}
