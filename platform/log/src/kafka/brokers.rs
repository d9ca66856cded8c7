//! Reminds clients of their brokers.
//!
//! A broker that starts may say for a moment that there are no brokers at all. librdkafka 2.12 then forgets every broker it
//! knew, the first ones too, and never asks anybody again (<https://github.com/confluentinc/librdkafka/issues/5301>, open):
//! a client that happened to ask just then is lost for good, while its neighbours go on. So when a client of a process has
//! lost all its brokers, every client is told its first ones again for a while. One that knows them goes on as it was.

use std::{
    ffi::{CStr, CString},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{consumer::BaseConsumer, producer::ThreadedProducer};
use tokio::time::sleep;

use super::{context::Context, native, shared::GroupContext};

/// From a loss to the first reminder; each further one comes after twice as long.
const SOON: Duration = Duration::from_secs(1);
/// The last reminder comes when the next would come after longer than this.
const LATEST: Duration = Duration::from_secs(120);

/// A client of librdkafka.
pub(super) trait Client: Send + Sync {
    /// Tells it its first brokers again.
    fn remind(&self, brokers: &CStr);
    /// Makes it stop fetching without a word, if it fetches.
    #[cfg(feature = "conformance")]
    fn hush(&self) {}
}

impl Client for BaseConsumer<Context> {
    fn remind(&self, brokers: &CStr) {
        native::add_brokers(rdkafka::consumer::Consumer::client(self), brokers);
    }
    #[cfg(feature = "conformance")]
    fn hush(&self) {
        if let Err(error) = rdkafka::consumer::Consumer::unassign(self) {
            tracing::warn!(%error, "kafka.hush_failed");
        }
    }
}

impl Client for BaseConsumer<GroupContext> {
    fn remind(&self, brokers: &CStr) {
        native::add_brokers(rdkafka::consumer::Consumer::client(self), brokers);
    }
}

impl Client for ThreadedProducer<Context> {
    fn remind(&self, brokers: &CStr) {
        native::add_brokers(rdkafka::producer::Producer::client(self), brokers);
    }
}

/// The clients of a log, and whether one of them has lost its brokers.
pub(super) struct Brokers {
    first: CString,
    clients: Mutex<Vec<Weak<dyn Client>>>,
    lost: AtomicBool,
    /// Why one of them would not have a client of ours; noted until somebody asks.
    refused: Mutex<Option<String>>,
}

impl std::fmt::Debug for Brokers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Brokers").field("first", &self.first).finish_non_exhaustive()
    }
}

impl Brokers {
    /// `first`: the list of a client's configuration (`host:port,…`).
    pub(super) fn new(first: &str) -> Arc<Self> {
        let first = CString::new(first).unwrap_or_default();
        Arc::new(Self { first, clients: Mutex::default(), lost: AtomicBool::new(false), refused: Mutex::default() })
    }

    fn clients(&self) -> MutexGuard<'_, Vec<Weak<dyn Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another client, for as long as it lives.
    pub(super) fn watch<T: Client + 'static>(&self, client: &Arc<T>) {
        let client: Weak<dyn Client> = Arc::<T>::downgrade(client);
        let mut clients = self.clients();
        clients.retain(|one| one.strong_count() > 0);
        clients.push(client);
    }

    /// A client says that it has lost all its brokers. Called from librdkafka's own threads: only noted.
    pub(super) fn are_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// A broker would not have a client: its name, password, token or certificate. Called from librdkafka's own threads: only
    /// noted.
    pub(super) fn refuse(&self, why: &str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// Why a client was refused since this was asked last, if one was.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn each(&self, tell: impl Fn(&dyn Client)) {
        // Taken out first: a client that is dropped here waits for its threads.
        let clients: Vec<Arc<dyn Client>> = self.clients().iter().filter_map(Weak::upgrade).collect();
        clients.iter().for_each(|client| tell(&**client));
        super::fetch::discard(clients);
    }

    fn remind(&self) {
        self.each(|client| client.remind(&self.first));
    }

    /// Makes every client stop fetching without a word: what readers must notice.
    #[cfg(feature = "conformance")]
    pub(super) fn hush(&self) {
        self.each(|client| client.hush());
    }

    /// Serves a log until it is dropped.
    pub(super) async fn serve(brokers: Weak<Self>) {
        // How long ago the loss was, and when the next reminder is due.
        let (mut since, mut next) = (Duration::ZERO, None);
        loop {
            sleep(SOON).await;
            since += SOON;
            let Some(brokers) = brokers.upgrade() else { return };
            if brokers.lost.swap(false, Ordering::Relaxed) {
                (since, next) = (Duration::ZERO, Some(SOON));
            } else if let Some(due) = next.filter(|due| since >= *due) {
                brokers.remind();
                next = Some(due * 2).filter(|due| *due <= LATEST);
            }
        }
    }
}
