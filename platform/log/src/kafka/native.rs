//! The few calls of librdkafka that its Rust wrapper does not offer as needed: a partition's own queue whose ends and
//! errors come with their *offset* (the wrapper drops it, and without it the end of a gap cannot be told from an older
//! end), and the member's id (by which one sees that a leave was sent).
#![allow(unsafe_code, reason = "calls of a C library; every use says why it is sound")]

use std::{
    ffi::{CStr, CString, c_char, c_void},
    ptr,
    sync::Arc,
};

use bytes::Bytes;
use rdkafka::{
    bindings as c,
    client::{Client, ClientContext},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    types::RDKafkaErrorCode,
};
use tokio::sync::Notify;
use waybill_schemas::WallMs;

use crate::seam::{Headers, Record};

/// What a partition's queue holds.
#[derive(Debug)]
pub(super) enum Fetched {
    /// A record.
    Record(Record),
    /// There was nothing at or beyond this offset.
    End(u64),
    /// The partition cannot be read on.
    Failed(RDKafkaErrorCode),
}

/// The queue of one partition of one consumer. Records fetched for the partition come here and nowhere else.
pub(super) struct PartitionQueue<C: ConsumerContext + 'static> {
    queue: *mut c::rd_kafka_queue_t,
    /// Told whenever the queue stops being empty; several queues may tell the same. Shared with librdkafka's threads until the queue is dropped.
    filled: Arc<Notify>,
    /// Must live longer than the queue.
    _consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread, and the pointer is owned by this value alone.
unsafe impl<C: ConsumerContext + 'static> Send for PartitionQueue<C> {}
// SAFETY: as above; every call locks the queue itself.
unsafe impl<C: ConsumerContext + 'static> Sync for PartitionQueue<C> {}

unsafe extern "C" fn on_filled(_client: *mut c::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `opaque` is the `Notify` of the queue's `filled`, which outlives the registration of this callback.
    unsafe { &*opaque.cast::<Notify>() }.notify_one();
}

impl<C: ConsumerContext + 'static> PartitionQueue<C> {
    /// The queue of a partition; `None` for a name that cannot be a topic's. To be made before the partition is assigned:
    /// what is fetched from then on comes here.
    pub(super) fn new(
        consumer: &Arc<BaseConsumer<C>>,
        topic: &str,
        partition: i32,
        filled: Arc<Notify>,
    ) -> Option<Self> {
        let name = CString::new(topic).ok()?;
        // SAFETY: the client lives (borrowed), the name is a C string; the answer is null or a queue that we own.
        let queue =
            unsafe { c::rd_kafka_queue_get_partition(consumer.client().native_ptr(), name.as_ptr(), partition) };
        if queue.is_null() {
            return None;
        }
        // SAFETY: the queue is ours. Forwarding to null keeps its records in it. The callback's pointer stays valid until
        // `drop` has taken the callback away.
        unsafe {
            c::rd_kafka_queue_forward(queue, ptr::null_mut());
            c::rd_kafka_queue_cb_event_enable(queue, Some(on_filled), Arc::as_ptr(&filled).cast_mut().cast());
        }
        Some(Self { queue, filled, _consumer: Arc::clone(consumer) })
    }

    /// Tells of arrivals. One waiter at a time.
    pub(super) fn filled(&self) -> &Notify {
        &self.filled
    }

    /// The next entry, without waiting.
    pub(super) fn take(&self) -> Option<Fetched> {
        // SAFETY: the queue is ours; the answer is null or a message that we must destroy.
        let message = unsafe { c::rd_kafka_consume_queue(self.queue, 0) };
        if message.is_null() {
            return None;
        }
        // SAFETY: the message is whole until it is destroyed, and everything is copied out of it before.
        let fetched = unsafe { read(message) };
        // SAFETY: ours, and not used any more.
        unsafe { c::rd_kafka_message_destroy(message) };
        Some(fetched)
    }
}

impl<C: ConsumerContext + 'static> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        // SAFETY: the queue is ours. Taking the callback away waits for one that runs (both hold the queue's lock), so
        // `filled` is used by nobody afterwards.
        unsafe {
            c::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            c::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// # Safety
/// `data` must be null or point to `len` bytes.
unsafe fn bytes(data: *const c_void, len: usize) -> Option<Bytes> {
    if data.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) }))
}

/// # Safety
/// `message` must be a message that is not yet destroyed.
unsafe fn read(message: *mut c::rd_kafka_message_t) -> Fetched {
    // SAFETY: the caller's promise.
    let plain = unsafe { &*message };
    let offset = u64::try_from(plain.offset).unwrap_or(0);
    match plain.err {
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => return Fetched::End(offset),
        other => return Fetched::Failed(other.into()),
    }
    let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: key and payload belong to the message; the timestamp's kind is written to our variable.
    let (key, value, time) = unsafe {
        (
            bytes(plain.key, plain.key_len),
            bytes(plain.payload, plain.len),
            c::rd_kafka_message_timestamp(message, &raw mut kind),
        )
    };
    // SAFETY: the message is not yet destroyed.
    let headers = unsafe { headers(message) };
    Fetched::Record(Record { offset, append_time: WallMs::new(time.max(0)), key, value, headers })
}

/// # Safety
/// `message` must be a message that is not yet destroyed.
unsafe fn headers(message: *mut c::rd_kafka_message_t) -> Headers {
    let mut list = ptr::null_mut();
    // SAFETY: the list stays the message's own.
    let found = unsafe { c::rd_kafka_message_headers(message, &raw mut list) };
    if found != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
        return Headers::new();
    }
    let mut all = Headers::new();
    loop {
        let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list lives as long as the message; an index beyond its end is answered with an error.
        let answer =
            unsafe { c::rd_kafka_header_get_all(list, all.len(), &raw mut name, &raw mut value, &raw mut size) };
        if answer != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return all;
        }
        // SAFETY: a header's name is a C string and its value has `size` bytes, for as long as the message lives.
        let (name, value) = unsafe { (CStr::from_ptr(name).to_string_lossy().into_owned(), bytes(value, size)) };
        all.push((name, value.unwrap_or_default()));
    }
}

/// The partition's end as the last answer to a fetch told it; `None` when there was none yet.
pub(super) fn known_end<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partition: i32) -> Option<u64> {
    let name = CString::new(topic).ok()?;
    let (mut first, mut next) = (-1_i64, -1_i64);
    // SAFETY: the client lives, the name is a C string, both offsets are ours to write.
    let answer = unsafe {
        c::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            name.as_ptr(),
            partition,
            &raw mut first,
            &raw mut next,
        )
    };
    if answer == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR { u64::try_from(next).ok() } else { None }
}

/// Tells a client its first brokers once more, as at its start. A client that knows them already goes on as it was.
pub(super) fn add_brokers<C: ClientContext>(client: &Client<C>, brokers: &CStr) {
    // SAFETY: the client lives, and librdkafka copies the list.
    unsafe { c::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
}

/// A member's id in its group: it loses it the moment its leave is sent.
pub(super) fn member_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<String> {
    let client = consumer.client().native_ptr();
    // SAFETY: the client lives; the answer is null or a C string that we must give back.
    unsafe {
        let id = c::rd_kafka_memberid(client);
        if id.is_null() {
            return None;
        }
        let text = CStr::from_ptr(id).to_string_lossy().into_owned();
        c::rd_kafka_mem_free(client, id.cast());
        Some(text).filter(|text| !text.is_empty())
    }
}
