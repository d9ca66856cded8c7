//! Keeps a restarting broker from crashing the process: a mend of librdkafka 2.12.1 from outside, by the linker's `--wrap`.
//!
//! An answer to a fetch may name the new leaders of partitions (KIP-951), or say that one has none yet (-1), which is what a
//! broker says while it starts. librdkafka counts both but fills in only the former, and then reads as many partitions as it
//! counted, the rest from memory that nobody has written: a third of our processes ended by SIGSEGV when their broker came
//! back (`tests/chaos.rs`; <https://github.com/confluentinc/librdkafka/issues/5280>, open). Here the count becomes what was
//! filled in. To be removed with the first librdkafka that does it itself.
#![allow(
    unsafe_code,
    non_snake_case,
    clippy::multiple_unsafe_ops_per_block,
    reason = "stands in for functions of a C library, under their names"
)]

use std::ffi::{c_char, c_int, c_void};

use rdkafka_sys::{RD_KAFKA_VERSION, rd_kafka_metadata};

const _: () = assert!(
    RD_KAFKA_VERSION == 0x020c_01ff,
    "another librdkafka: is its issue 5280 closed? If so remove this module and build.rs, if not compare the two functions"
);

/// `rd_kafka_Uuid_t`, which travels by value.
#[repr(C)]
#[derive(Clone, Copy)]
struct Uuid {
    bits: [i64; 2],
    base64: [c_char; 23],
}

unsafe extern "C" {
    fn __real_rd_kafkap_leader_discovery_set_topic(
        buffer: *mut c_void,
        metadata: *mut rd_kafka_metadata,
        topic: c_int,
        id: Uuid,
        name: *mut c_char,
        partitions: c_int,
    );
    fn __real_rd_kafkap_leader_discovery_set_CurrentLeader(
        buffer: *mut c_void,
        metadata: *mut rd_kafka_metadata,
        topic: c_int,
        partition: c_int,
        id: i32,
        leader: *mut c_void,
    );
}

/// The topic's record, with room for `partitions` of them and none filled in yet.
#[unsafe(no_mangle)]
extern "C" fn __wrap_rd_kafkap_leader_discovery_set_topic(
    buffer: *mut c_void,
    metadata: *mut rd_kafka_metadata,
    topic: c_int,
    id: Uuid,
    name: *mut c_char,
    partitions: c_int,
) {
    // SAFETY: librdkafka's own arguments for its own function; metadata is the first field of the struct that it hands on.
    unsafe { __real_rd_kafkap_leader_discovery_set_topic(buffer, metadata, topic, id, name, partitions) };
    set_count(metadata, topic, 0);
}

/// The `partition`-th of the topic is filled in; they come in order.
#[unsafe(no_mangle)]
extern "C" fn __wrap_rd_kafkap_leader_discovery_set_CurrentLeader(
    buffer: *mut c_void,
    metadata: *mut rd_kafka_metadata,
    topic: c_int,
    partition: c_int,
    id: i32,
    leader: *mut c_void,
) {
    // SAFETY: as above.
    unsafe {
        __real_rd_kafkap_leader_discovery_set_CurrentLeader(buffer, metadata, topic, partition, id, leader);
    }
    set_count(metadata, topic, partition.saturating_add(1));
}

fn set_count(metadata: *mut rd_kafka_metadata, topic: c_int, count: c_int) {
    let Ok(topic) = usize::try_from(topic) else { return };
    // SAFETY: the function just called has filled in this topic, which lies in the list of topics.
    unsafe { (*(*metadata).topics.add(topic)).partition_cnt = count };
}
