//! Reading without a group: a small pool of clients whose cursors go on where the last read ended.
//!
//! Two kinds of clients. *Tails* wait for appends: the broker holds their requests back for a while, so a cursor that is
//! new on such a client may wait for that long once. *Scans* read what is there: their cursors are let go at the end of
//! the partition, so none of their requests is ever held back, and a read anywhere costs one or two round trips.
//! Several readers of one partition each get a cursor; a client has one cursor a partition, so the pool grows by clients.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{config::ClientConfig, types::RDKafkaErrorCode as Code};
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use super::{
    bounds::Asked,
    context::Context,
    error::from_code,
    fetch::{Cursor, FetchClient},
    native::Fetched,
    silence::next_look,
};
use crate::seam::{Batch, Bounds, LogError, ReadFrom, TopicPartition};

/// How long the broker holds back a tail's request.
const TAIL_HOLD: Duration = Duration::from_millis(250);
/// How long the broker holds back a scan's request, which happens only in a gap at the end.
const SCAN_HOLD: Duration = Duration::from_millis(10);
/// A cursor not read for so long may be taken for another offset, if no new client may be made.
const STEADY: Duration = Duration::from_secs(2);
/// A cursor not read for so long is let go.
const IDLE: Duration = Duration::from_secs(30);
/// How long a tail that brings nothing waits to hear where its partition ends.
const LOOK: Duration = Duration::from_secs(2);
/// Most clients of each kind.
const CLIENTS: usize = 12;
/// Stands in for waits that no clock can express.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tail,
    Scan,
}

struct Idle {
    cursor: Cursor,
    since: Instant,
}

#[derive(Default)]
struct State {
    clients: Vec<Arc<FetchClient>>,
    idle: Vec<Idle>,
    /// Partitions being read, of each client (by its place).
    busy: BTreeSet<(usize, TopicPartition)>,
}

struct Side {
    kind: Kind,
    state: Mutex<State>,
    /// A cursor was given back.
    returned: Notify,
}

/// The readers of a process.
pub(super) struct Reads {
    config: ClientConfig,
    context: Context,
    request_timeout: Duration,
    tails: Arc<Side>,
    scans: Arc<Side>,
    asked: Arc<Asked>,
    began: Instant,
}

/// A cursor in use; goes back to the pool when it is dropped, also in the middle of a read.
struct Lease {
    side: Arc<Side>,
    at: TopicPartition,
    client: usize,
    /// Where the cursor is still to be made.
    opens: Option<Arc<FetchClient>>,
    cursor: Option<Cursor>,
    keep: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.side.state.lock().unwrap_or_else(PoisonError::into_inner);
        match self.cursor.take() {
            Some(cursor) if self.keep => state.idle.push(Idle { cursor, since: Instant::now() }),
            // Let go before the place is free: a client has one cursor a partition.
            other => drop(other),
        }
        state.busy.remove(&(self.client, self.at.clone()));
        drop(state);
        self.side.returned.notify_waiters();
    }
}

impl Side {
    fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Self { kind, state: Mutex::default(), returned: Notify::new() })
    }

    /// A cursor at an offset; `None` when all places of the partition are in use.
    fn take(self: &Arc<Self>, reads: &Reads, at: &TopicPartition, offset: u64) -> Result<Option<Lease>, LogError> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let old: Vec<usize> = (0..state.idle.len()).filter(|index| now - state.idle[*index].since > IDLE).collect();
        for index in old.into_iter().rev() {
            state.idle.swap_remove(index);
        }
        let here = |idle: &Idle| idle.cursor.at() == at;
        if let Some(index) = state.idle.iter().position(|idle| here(idle) && idle.cursor.position() == offset) {
            return Ok(Some(self.lease(&mut state, index)));
        }
        let oldest =
            (0..state.idle.len()).filter(|index| here(&state.idle[*index])).min_by_key(|i| state.idle[*i].since);
        // A cursor nobody goes on with is better moved than kept.
        if let Some(index) = oldest.filter(|index| now - state.idle[*index].since > STEADY) {
            let lease = self.lease(&mut state, index);
            drop(state);
            return lease.moved_to(offset).map(Some);
        }
        let taken = |state: &State, client: usize| {
            state.busy.contains(&(client, at.clone()))
                || state.idle.iter().any(|idle| here(idle) && Arc::ptr_eq(idle.cursor.client(), &state.clients[client]))
        };
        let mut free = (0..state.clients.len()).find(|client| !taken(&state, *client));
        if free.is_none() && state.clients.len() < CLIENTS {
            state.clients.push(reads.client(self.kind)?);
            free = Some(state.clients.len() - 1);
        }
        let Some(client) = free else {
            let Some(index) = oldest else { return Ok(None) };
            let lease = self.lease(&mut state, index);
            drop(state);
            return lease.moved_to(offset).map(Some);
        };
        state.busy.insert((client, at.clone()));
        let opens = Some(Arc::clone(&state.clients[client]));
        Ok(Some(Lease { side: Arc::clone(self), at: at.clone(), client, opens, cursor: None, keep: true }))
    }

    /// Whether a cursor stands ready exactly here.
    fn goes_on(&self, at: &TopicPartition, offset: u64) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.idle.iter().any(|idle| idle.cursor.at() == at && idle.cursor.position() == offset)
    }

    fn lease(self: &Arc<Self>, state: &mut State, index: usize) -> Lease {
        let cursor = state.idle.swap_remove(index).cursor;
        let client = state.clients.iter().position(|client| Arc::ptr_eq(client, cursor.client())).unwrap_or(0);
        let at = cursor.at().clone();
        state.busy.insert((client, at.clone()));
        Lease { side: Arc::clone(self), at, client, opens: None, cursor: Some(cursor), keep: true }
    }
}

impl Lease {
    fn cursor_mut(&mut self) -> Result<&mut Cursor, LogError> {
        self.cursor.as_mut().ok_or(LogError::Closed)
    }

    /// With its cursor elsewhere. One that could not be moved stands nowhere, and must not be found as if it stood there.
    fn moved_to(mut self, offset: u64) -> Result<Self, LogError> {
        self.keep = false;
        self.cursor_mut()?.reposition(offset)?;
        self.keep = true;
        Ok(self)
    }
}

impl Reads {
    pub(super) fn new(config: ClientConfig, context: Context, request_timeout: Duration) -> Self {
        let (tails, scans) = (Side::new(Kind::Tail), Side::new(Kind::Scan));
        Self { config, context, request_timeout, tails, scans, asked: Arc::default(), began: Instant::now() }
    }

    fn client(&self, kind: Kind) -> Result<Arc<FetchClient>, LogError> {
        let (role, hold) = match kind {
            Kind::Tail => ("tail", TAIL_HOLD),
            Kind::Scan => ("scan", SCAN_HOLD),
        };
        let context = Context { role, ..self.context.clone() };
        FetchClient::new(self.config.clone(), context, hold, self.request_timeout)
    }

    /// A client to ask things of: the first scan's.
    pub(super) fn any(&self) -> Result<Arc<FetchClient>, LogError> {
        let mut state = self.scans.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = state.clients.first() {
            return Ok(Arc::clone(client));
        }
        let client = self.client(Kind::Scan)?;
        state.clients.push(Arc::clone(&client));
        Ok(client)
    }

    /// When those whose partitions bring nothing next look whether there is something.
    pub(super) fn next_look(&self) -> Instant {
        next_look(self.began)
    }

    async fn lease(&self, side: &Arc<Side>, at: &TopicPartition, offset: u64) -> Result<Lease, LogError> {
        let deadline = Instant::now() + self.request_timeout;
        loop {
            let returned = side.returned.notified();
            tokio::pin!(returned);
            returned.as_mut().enable();
            if let Some(mut lease) = side.take(self, at, offset)? {
                if let Some(client) = lease.opens.take() {
                    client.know(&at.topic).await?;
                    lease.cursor = Some(Cursor::open(&client, at, offset, Arc::default())?);
                }
                return Ok(lease);
            }
            if timeout_at(deadline, returned).await.is_err() {
                return Err(LogError::Unavailable(format!("too many readers of {}/{}", at.topic, at.partition)));
            }
        }
    }

    /// The partition's offsets, asked of the broker now.
    pub(super) async fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError> {
        self.asked.bounds(self.any()?, at).await
    }

    /// [`crate::seam::Log::read`].
    pub(super) async fn read(&self, from: ReadFrom) -> Result<Batch, LogError> {
        if !from.wait.is_zero() && self.tails.goes_on(&from.at, from.offset) {
            return self.tail(&from).await;
        }
        let bounds = self.bounds(&from.at).await?;
        within(&from, bounds)?;
        if from.offset < bounds.next {
            if let Some(batch) = self.scan(&from, bounds).await? {
                return Ok(batch);
            }
        } else if from.wait.is_zero() {
            return Ok(Batch { records: Vec::new(), next_offset: from.offset, end: bounds.next });
        }
        self.tail(&from).await
    }

    /// Reads what is known to be there; `None` when it was only a gap and something is still to be waited for.
    async fn scan(&self, from: &ReadFrom, bounds: Bounds) -> Result<Option<Batch>, LogError> {
        let mut lease = self.lease(&self.scans, &from.at, from.offset).await?;
        // Until the read has ended well nothing is known about the cursor's state.
        lease.keep = false;
        let deadline = Instant::now() + self.request_timeout;
        let collected = collect(lease.cursor_mut()?, from, Until::End(bounds.next), deadline).await;
        let records = match collected {
            Err(Trouble::OutOfRange) => {
                let bounds = self.bounds(&from.at).await?;
                within(from, bounds)?;
                return Err(LogError::Unavailable(format!("{}: the position is not settled", from.at.topic)));
            }
            Err(Trouble::Other(error)) => return Err(error),
            Ok(records) => records,
        };
        let next_offset = lease.cursor_mut()?.position();
        lease.keep = next_offset < bounds.next;
        drop(lease);
        if records.is_empty() && !from.wait.is_zero() {
            return Ok(None);
        }
        let end = if next_offset < bounds.next { bounds.next } else { self.bounds(&from.at).await?.next };
        Ok(Some(Batch { records, next_offset, end: end.max(next_offset) }))
    }

    /// Waits for what comes.
    async fn tail(&self, from: &ReadFrom) -> Result<Batch, LogError> {
        let mut lease = self.lease(&self.tails, &from.at, from.offset).await?;
        let deadline = Instant::now() + from.wait.min(FAR);
        loop {
            let look = self.next_look();
            let collected = collect(lease.cursor_mut()?, from, Until::Something, deadline.min(look)).await;
            match collected {
                Ok(records) => {
                    let cursor = lease.cursor_mut()?;
                    if !records.is_empty() || cursor.position() > from.offset || deadline <= look {
                        return Ok(Batch { records, next_offset: cursor.position(), end: cursor.known_end() });
                    }
                }
                Err(trouble) => {
                    lease.keep = false;
                    drop(lease);
                    within(from, self.bounds(&from.at).await?)?;
                    return Err(match trouble {
                        Trouble::OutOfRange => {
                            LogError::Unavailable(format!("{}: the position is not settled", from.at.topic))
                        }
                        Trouble::Other(error) => error,
                    });
                }
            }
            // A broker that does not answer is no silence of the partition's.
            let Ok(Ok(bounds)) = timeout(LOOK, self.bounds(&from.at)).await else { continue };
            if lease.cursor_mut()?.is_stuck(bounds.next) {
                let (topic, partition, offset, next) = (&from.at.topic, from.at.partition, from.offset, bounds.next);
                tracing::warn!(%topic, partition, offset, next, "kafka.tail_stuck");
                lease.keep = false;
                drop(lease);
                within(from, bounds)?;
                // By another client: should this one be beyond help, its readers go on all the same.
                let nothing = Batch { records: Vec::new(), next_offset: from.offset, end: bounds.next };
                return Ok(self.scan(from, bounds).await?.unwrap_or(nothing));
            }
        }
    }
}

fn within(from: &ReadFrom, bounds: Bounds) -> Result<(), LogError> {
    if (bounds.first..=bounds.next).contains(&from.offset) {
        return Ok(());
    }
    Err(LogError::OutOfRange {
        topic: from.at.topic.to_string(),
        partition: from.at.partition,
        offset: from.offset,
        first: bounds.first,
        next: bounds.next,
    })
}

/// When a read is content.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// At this offset, which is known to come.
    End(u64),
    /// Once something came.
    Something,
}

enum Trouble {
    OutOfRange,
    Other(LogError),
}

/// Collects records within the read's limits. For [`Until::End`] the deadline is an error, else it ends the wait.
async fn collect(
    cursor: &mut Cursor,
    from: &ReadFrom,
    until: Until,
    deadline: Instant,
) -> Result<Vec<crate::seam::Record>, Trouble> {
    let (mut records, mut bytes) = (Vec::new(), 0_usize);
    loop {
        // Everything below may be ready at once, for long: let others run.
        tokio::task::consume_budget().await;
        while records.len() < from.max_records.max(1) && (records.is_empty() || bytes < from.max_bytes) {
            match cursor.take() {
                None => break,
                Some(Fetched::Record(record)) => {
                    bytes += record.key.as_ref().map_or(0, bytes::Bytes::len);
                    bytes += record.value.as_ref().map_or(0, bytes::Bytes::len);
                    records.push(record);
                }
                Some(Fetched::End(_)) => {}
                Some(Fetched::Failed(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset)) => {
                    return Err(Trouble::OutOfRange);
                }
                Some(Fetched::Failed(code)) => return Err(Trouble::Other(from_code(code, &from.at.topic))),
            }
        }
        let full = records.len() >= from.max_records.max(1) || (!records.is_empty() && bytes >= from.max_bytes);
        let content = match until {
            Until::End(end) => cursor.position() >= end,
            Until::Something => !records.is_empty() || cursor.position() > from.offset,
        };
        if full || content {
            return Ok(records);
        }
        let Some(filled) = cursor.filled() else { return Err(Trouble::Other(LogError::Closed)) };
        if timeout_at(deadline, filled.notified()).await.is_err() {
            return match until {
                // What came is an answer; nothing at all is not.
                Until::End(_) if records.is_empty() => Err(Trouble::Other(LogError::Unavailable(format!(
                    "{}/{} does not answer",
                    from.at.topic, from.at.partition
                )))),
                _ => Ok(records),
            };
        }
    }
}
