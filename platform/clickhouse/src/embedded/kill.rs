//! Stops statements nobody waits for any more, from a connection reserved for it.

use crate::engine::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// How many kills may wait; beyond that the statement's own time limit ends it.
const WAITING: usize = 256;

/// Sends kills to the reserved connection's thread.
#[derive(Clone)]
pub(super) struct Killer {
    tags: SyncSender<String>,
}

impl Killer {
    /// Starts the thread that owns the connection; it ends when the last `Killer` is dropped.
    pub(super) fn start(connection: Connection) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (tags, waiting) = sync_channel(WAITING);
        let thread =
            std::thread::Builder::new().name("store-kill".to_owned()).spawn(move || serve(&connection, &waiting))?;
        Ok((Self { tags }, thread))
    }

    /// A guard that kills the statement `tag` unless it finished before the guard is dropped.
    pub(super) fn guard(&self, tag: String) -> KillGuard {
        KillGuard { killer: self.clone(), tag, finished: Arc::new(AtomicBool::new(false)) }
    }
}

fn serve(connection: &Connection, waiting: &Receiver<String>) {
    while let Ok(tag) = waiting.recv() {
        // The tag is made here, of digits and letters: it needs no quoting.
        let kill = format!("KILL QUERY WHERE Settings['log_comment'] = '{tag}' ASYNC");
        if let Err(error) = connection.query(&kill, "Null", &[]) {
            tracing::warn!(error = %error, "store.kill_failed");
        }
    }
}

/// Held by whoever waits for the answer: dropped early, the statement is killed.
pub(super) struct KillGuard {
    killer: Killer,
    tag: String,
    finished: Arc<AtomicBool>,
}

impl KillGuard {
    /// The flag the statement's thread raises when it is done.
    pub(super) fn finished(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.finished)
    }
}

impl Drop for KillGuard {
    fn drop(&mut self) {
        if !self.finished.load(Ordering::Acquire) {
            // A full queue means the time limit does the work.
            let _ = self.killer.tags.try_send(std::mem::take(&mut self.tag));
        }
    }
}
