//! Where partitions begin and end, asked of the broker together.
//!
//! Many ask for it: every read before it reads, every owner once a second whether somebody else wrote, whoever measures
//! lag. One by one, that was seen to be most of what an idle cluster asks of its broker. Here whoever asks waits a moment
//! for others who ask of the same topic, and one pair of requests answers all. A partition without a leader is asked for
//! again for a while, and keeps nobody else waiting; once that was in vain, who asks for it is told so at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{
    error::gone,
    fetch::{Ends, FetchClient},
};
use crate::seam::{Bounds, LogError, TopicPartition};

/// How long the first waits for others.
const GATHER: Duration = Duration::from_millis(2);
/// From an answer without a leader to the next question; twice as long each time, up to [`SELDOM`].
const SOON: Duration = Duration::from_millis(30);
const SELDOM: Duration = Duration::from_secs(1);

type Answer = Result<Bounds, LogError>;

struct Question {
    partition: u32,
    answer: oneshot::Sender<Answer>,
}

/// Whether partitions without a leader are still waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Left,
    Over,
}

#[derive(Default)]
struct Topic {
    /// What is about to be asked.
    waiting: Vec<Question>,
    /// Partitions whose leader was waited for in vain, and that have had none since.
    unled: BTreeSet<u32>,
}

/// What is asked of each topic: an unknown one keeps nobody else waiting.
#[derive(Default)]
pub(super) struct Asked(Mutex<BTreeMap<Arc<str>, Topic>>);

impl Asked {
    fn topics(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Topic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition's offsets, asked of the broker after this call began.
    pub(super) async fn bounds(self: &Arc<Self>, client: Arc<FetchClient>, at: &TopicPartition) -> Answer {
        let (answer, answered) = oneshot::channel();
        let first = {
            let mut topics = self.topics();
            let waiting = &mut topics.entry(Arc::clone(&at.topic)).or_default().waiting;
            waiting.push(Question { partition: at.partition, answer });
            waiting.len() == 1
        };
        if first {
            // Beside the caller: others wait for it too, and go on waiting when the caller no longer does.
            tokio::spawn(Arc::clone(self).ask(client, Arc::clone(&at.topic)));
        }
        answered.await.unwrap_or_else(|_| Err(gone("asking for offsets")))
    }

    async fn ask(self: Arc<Self>, client: Arc<FetchClient>, topic: Arc<str>) {
        sleep(GATHER).await;
        let mut questions = std::mem::take(&mut self.topics().entry(Arc::clone(&topic)).or_default().waiting);
        let partitions: BTreeSet<u32> = questions.iter().map(|question| question.partition).collect();
        let (deadline, mut pause) = (Instant::now() + client.request_timeout(), SOON);
        loop {
            let found = client.bounds(&topic, partitions.clone()).await;
            let patience = if Instant::now() < deadline { Patience::Left } else { Patience::Over };
            questions = self.topics().entry(Arc::clone(&topic)).or_default().answer(questions, &found, patience);
            if questions.is_empty() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(SELDOM);
        }
    }
}

impl Topic {
    /// Answers what is known; gives back what is to be asked again, where somebody still waits for it.
    fn answer(
        &mut self,
        questions: Vec<Question>,
        found: &Result<BTreeMap<u32, Ends>, LogError>,
        patience: Patience,
    ) -> Vec<Question> {
        for (partition, ends) in found.iter().flatten() {
            match ends {
                Ends::Known(_) => drop(self.unled.remove(partition)),
                Ends::Settling(_) if patience == Patience::Over => drop(self.unled.insert(*partition)),
                Ends::Settling(_) => {}
            }
        }
        let mut open = Vec::new();
        for question in questions {
            let ends = found.as_ref().map(|found| found.get(&question.partition));
            let bounds = match ends {
                Err(error) => Err(error.clone()),
                Ok(None) => Err(gone("asking for offsets")),
                Ok(Some(Ends::Known(bounds))) => bounds.clone(),
                Ok(Some(Ends::Settling(error))) if self.unled.contains(&question.partition) => Err(error.clone()),
                Ok(Some(Ends::Settling(_))) => {
                    if !question.answer.is_closed() {
                        open.push(question);
                    }
                    continue;
                }
            };
            // Nobody waits any more.
            let _ = question.answer.send(bounds);
        }
        open
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_partition_without_a_leader_keeps_only_its_own_readers_waiting_and_them_once() {
        let ask = |partition| {
            let (answer, answered) = oneshot::channel();
            (Question { partition, answer }, answered)
        };
        let mut topic = Topic::default();
        let bounds = Bounds { first: 4, next: 9 };
        let no_leader = LogError::Unavailable("it has no leader".to_owned());
        let found = Ok(BTreeMap::from([(1, Ends::Known(Ok(bounds))), (3, Ends::Settling(no_leader.clone()))]));
        let ((led, mut at_once), (unled, mut later), (left, nobody)) = (ask(1), ask(3), ask(3));
        drop(nobody);
        let open = topic.answer(vec![led, unled, left], &found, Patience::Left);
        assert_eq!(at_once.try_recv().unwrap(), Ok(bounds));
        assert!(later.try_recv().is_err(), "it may have a leader soon");
        assert_eq!(open.iter().map(|question| question.partition).collect::<Vec<_>>(), [3], "where somebody waits");
        assert!(topic.answer(open, &found, Patience::Over).is_empty());
        assert_eq!(later.try_recv().unwrap(), Err(no_leader.clone()));
        let (again, mut told) = ask(3);
        assert!(topic.answer(vec![again], &found, Patience::Left).is_empty(), "it was waited for in vain");
        assert_eq!(told.try_recv().unwrap(), Err(no_leader));
        let back = Ok(BTreeMap::from([(3, Ends::Known(Ok(bounds)))]));
        assert!(topic.answer(Vec::new(), &back, Patience::Left).is_empty());
        let (once_more, mut waits) = ask(3);
        assert_eq!(topic.answer(vec![once_more], &found, Patience::Left).len(), 1, "it has had one since");
        assert!(waits.try_recv().is_err());
    }
}
