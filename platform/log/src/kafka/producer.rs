//! Appending: one idempotent producer, whole calls at a time.
//!
//! A call hands all its records to librdkafka and then waits for all acknowledgements together. What librdkafka holds is
//! bounded; when it is full, the call waits. A record that is not acknowledged within the delivery timeout is answered
//! with `Unavailable`: it may have been appended all the same.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    Message as _, Timestamp,
    config::ClientConfig,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, Producer as _, ThreadedProducer},
    types::RDKafkaErrorCode as Code,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use waybill_schemas::{WallMs, limits::MAX_RECORD_BYTES};

use super::{
    clock::BrokerClock,
    context::Context,
    error::{from_code, from_error},
};
use crate::seam::{Appended, LogError, NewRecord};

/// How long to wait for room in librdkafka's queue before asking again.
const ROOM: Duration = Duration::from_millis(5);
/// What the acknowledgements of one call may take beyond the delivery timeout.
const SLACK: Duration = Duration::from_secs(10);

type Native = ThreadedProducer<Context>;

/// One call's answers, as they come.
#[derive(Debug)]
struct Call {
    answers: Mutex<Vec<Option<Result<Appended, LogError>>>>,
    open: AtomicUsize,
    done: Notify,
    clock: Arc<Mutex<BrokerClock>>,
}

impl Call {
    fn settle(&self, index: usize, answer: Result<Appended, LogError>) {
        if let Some(slot) = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *slot = Some(answer);
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

/// One record under way: where its answer goes.
#[derive(Debug)]
pub(super) struct Delivery {
    call: Arc<Call>,
    index: usize,
    topic: Arc<str>,
    bytes: usize,
}

impl Delivery {
    /// Called by librdkafka's polling thread.
    pub(super) fn settle(self, result: &DeliveryResult<'_>) {
        let answer = match result {
            Ok(message) => {
                let append_time = match message.timestamp() {
                    Timestamp::LogAppendTime(ms) => {
                        let time = WallMs::new(ms);
                        let mut clock = self.call.clock.lock().unwrap_or_else(PoisonError::into_inner);
                        clock.sample(time, Instant::now());
                        time
                    }
                    Timestamp::CreateTime(ms) => WallMs::new(ms),
                    Timestamp::NotAvailable => WallMs::ZERO,
                };
                Ok(Appended { offset: u64::try_from(message.offset()).unwrap_or(0), append_time })
            }
            Err((error, _)) => Err(self.refused(error)),
        };
        self.call.settle(self.index, answer);
    }

    fn refused(&self, error: &KafkaError) -> LogError {
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge) => {
                LogError::TooLarge { bytes: self.bytes, limit: MAX_RECORD_BYTES }
            }
            // About this client, not about the record: the next call gets a new producer.
            Some(code @ (Code::Fatal | Code::FencedInstanceId)) => LogError::Unavailable(format!("producing: {code}")),
            Some(code) => from_code(code, &self.topic),
            None => from_error(error, &self.topic),
        }
    }
}

/// The producer of a process.
pub(super) struct Producer {
    config: ClientConfig,
    context: Context,
    /// `None` only while it is dropped.
    native: RwLock<Option<Arc<Native>>>,
    clock: Arc<Mutex<BrokerClock>>,
    delivery_timeout: Duration,
}

fn size(record: &NewRecord) -> usize {
    let body = record.key.as_ref().map_or(0, bytes::Bytes::len) + record.value.as_ref().map_or(0, bytes::Bytes::len);
    body + record.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

impl Producer {
    pub(super) fn new(config: ClientConfig, context: Context, delivery_timeout: Duration) -> Result<Self, LogError> {
        let native = start(&config, &context)?;
        let clock = Arc::default();
        Ok(Self { config, context, native: RwLock::new(Some(native)), clock, delivery_timeout })
    }

    /// The broker's time, if something was appended lately.
    pub(super) fn time(&self) -> Option<WallMs> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).now(Instant::now())
    }

    /// A producer that works: an idempotent one that can no longer know what it has appended refuses everything, and is
    /// replaced by a new one. Repeats are the caller's to bear, as after any unclear answer.
    fn current(&self) -> Result<Arc<Native>, LogError> {
        let native = self.native.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(LogError::Closed)?;
        let Some((code, reason)) = native.client().fatal_error() else { return Ok(native) };
        let mut slot = self.native.write().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, &native)) {
            tracing::warn!(%code, reason, "kafka.producer_replaced");
            *slot = Some(start(&self.config, &self.context)?);
            discard(native);
        }
        slot.clone().ok_or(LogError::Closed)
    }

    /// Appends; `refused` answers records that need not be tried.
    pub(super) async fn produce(
        &self,
        records: Vec<NewRecord>,
        refused: impl Fn(&NewRecord) -> Option<LogError>,
    ) -> Vec<Result<Appended, LogError>> {
        let count = records.len();
        if count == 0 {
            return Vec::new();
        }
        let native = match self.current() {
            Ok(native) => native,
            Err(error) => return vec![Err(error); count],
        };
        let call = Arc::new(Call {
            answers: Mutex::new(vec![None; count]),
            open: AtomicUsize::new(count),
            done: Notify::new(),
            clock: Arc::clone(&self.clock),
        });
        let deadline = Instant::now() + self.delivery_timeout;
        for (index, record) in records.iter().enumerate() {
            let bytes = size(record);
            if bytes > MAX_RECORD_BYTES {
                call.settle(index, Err(LogError::TooLarge { bytes, limit: MAX_RECORD_BYTES }));
            } else if let Some(error) = refused(record) {
                call.settle(index, Err(error));
            } else {
                let topic = Arc::clone(&record.at.topic);
                let delivery = Delivery { call: Arc::clone(&call), index, topic, bytes };
                enqueue(&native, record, Box::new(delivery), deadline).await;
            }
        }
        drop(records);
        if timeout(self.delivery_timeout + SLACK, call.done.notified()).await.is_err() {
            tracing::warn!(records = count, "kafka.produce_unanswered");
        }
        let mut answers = call.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let unanswered = || Err(LogError::Unavailable("no acknowledgement came in time".to_owned()));
        std::mem::take(&mut *answers).into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect()
    }
}

/// Hands a record to librdkafka; a refusal is settled at once.
async fn enqueue(native: &Native, record: &NewRecord, delivery: Box<Delivery>, deadline: Instant) {
    let mut delivery = delivery;
    loop {
        let mut message: BaseRecord<'_, [u8], [u8], Box<Delivery>> =
            BaseRecord::with_opaque_to(&record.at.topic, delivery)
                .partition(i32::try_from(record.at.partition).unwrap_or(i32::MAX));
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (name, value) in &record.headers {
                headers = headers.insert(Header { key: name, value: Some(&value[..]) });
            }
            message.headers = Some(headers);
        }
        let Err((error, back)) = native.send(message) else { return };
        delivery = back.delivery_opaque;
        if error.rdkafka_error_code() != Some(Code::QueueFull) || Instant::now() >= deadline {
            let answer = Err(delivery.refused(&error));
            let Delivery { call, index, .. } = *delivery;
            call.settle(index, answer);
            return;
        }
        sleep(ROOM).await;
    }
}

fn start(config: &ClientConfig, context: &Context) -> Result<Arc<Native>, LogError> {
    config
        .create_with_context::<_, Native>(context.clone())
        .map(Arc::new)
        .inspect(|native| context.brokers.watch(native))
        .map_err(|error| from_error(&error, "the producer cannot be made"))
}

/// Ending a producer waits for its threads; nobody else has to.
fn discard(native: Arc<Native>) {
    let ended = std::thread::Builder::new().name("kafka-discard".to_owned()).spawn(move || drop(native));
    if let Err(error) = ended {
        tracing::warn!(%error, "kafka.discard_failed");
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if let Some(native) = self.native.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            discard(native);
        }
    }
}
