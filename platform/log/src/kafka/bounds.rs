//! Where partitions begin and end, asked of the broker together.
//!
//! Many ask for it: every read before it reads, every owner once a second whether somebody else wrote, whoever measures
//! lag. One by one, that was seen to be most of what an idle cluster asks of its broker. Here whoever asks waits a moment
//! for others who ask of the same topic, and one pair of requests answers all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::sleep};

use super::{error::gone, fetch::FetchClient};
use crate::seam::{Bounds, LogError, TopicPartition};

/// How long the first waits for others.
const GATHER: Duration = Duration::from_millis(2);

type Answer = Result<Bounds, LogError>;

struct Question {
    partition: u32,
    answer: oneshot::Sender<Answer>,
}

/// What is about to be asked, by topic: an unknown topic keeps nobody else waiting.
#[derive(Default)]
pub(super) struct Asked(Mutex<BTreeMap<Arc<str>, Vec<Question>>>);

impl Asked {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Vec<Question>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition's offsets, asked of the broker after this call began.
    pub(super) async fn bounds(self: &Arc<Self>, client: Arc<FetchClient>, at: &TopicPartition) -> Answer {
        let (answer, answered) = oneshot::channel();
        let first = {
            let mut waiting = self.waiting();
            let questions = waiting.entry(Arc::clone(&at.topic)).or_default();
            questions.push(Question { partition: at.partition, answer });
            questions.len() == 1
        };
        if first {
            // Beside the caller: others wait for it too, and go on waiting when the caller no longer does.
            tokio::spawn(Arc::clone(self).ask(client, Arc::clone(&at.topic)));
        }
        answered.await.unwrap_or_else(|_| Err(gone("asking for offsets")))
    }

    async fn ask(self: Arc<Self>, client: Arc<FetchClient>, topic: Arc<str>) {
        sleep(GATHER).await;
        let questions = self.waiting().remove(&topic).unwrap_or_default();
        let partitions: BTreeSet<u32> = questions.iter().map(|question| question.partition).collect();
        let found = client.bounds(&topic, partitions).await;
        for Question { partition, answer } in questions {
            let bounds = match &found {
                Ok(found) => found.get(&partition).cloned().unwrap_or_else(|| Err(gone("asking for offsets"))),
                Err(error) => Err(error.clone()),
            };
            // Nobody waits any more.
            let _ = answer.send(bounds);
        }
    }
}
