//! The embedded log keeps the laws of the seam, in memory and on disk.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{any::Any, sync::Arc};

use async_trait::async_trait;
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, TopicPartition,
    conformance::{Backend, Faults, Instance},
    embedded::EmbeddedFaults,
};
use waybill_schemas::WallMs;

fn options() -> EmbeddedOptions {
    #[allow(clippy::disallowed_methods, reason = "the tests' wall clock")]
    let clock = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        WallMs::new(i64::try_from(now.as_millis()).unwrap())
    };
    EmbeddedOptions { min_free_bytes: 0, ..EmbeddedOptions::new(Arc::new(clock)) }
}

struct Hooks(EmbeddedFaults);

#[async_trait]
impl Faults for Hooks {
    async fn gap(&self, at: &TopicPartition) {
        self.0.skip_offsets(at, 3).await.unwrap();
    }
    async fn delete_before(&self, at: &TopicPartition, offset: u64) {
        self.0.delete_before(at, offset).await.unwrap();
    }
    async fn end_session(&self, group: &str, topic: &str, member: &str) {
        // A member that was dropped has left already.
        let _known = self.0.end_session(group, topic, member).unwrap();
    }
    async fn lose_commit_answer(&self) {
        self.0.lose_commit_answers(1);
    }
    async fn lose_produce_answer(&self) {
        self.0.lose_produce_answers(1);
    }
}

fn instance(log: EmbeddedLog, keep: impl Any + Send + Sync) -> Instance {
    let faults = Arc::new(Hooks(log.faults()));
    Instance { log: Arc::new(log), faults, prefix: "law".to_owned(), keep: Box::new(keep) }
}

struct InMemory;

#[async_trait]
impl Backend for InMemory {
    async fn fresh(&self) -> Instance {
        instance(EmbeddedLog::in_memory(options()), ())
    }
}

struct OnDisk {
    tail_bytes: usize,
}

#[async_trait]
impl Backend for OnDisk {
    async fn fresh(&self) -> Instance {
        let dir = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions { tail_bytes: self.tail_bytes, ..options() };
        instance(EmbeddedLog::open(dir.path(), options).unwrap(), dir)
    }
}

mod in_memory {
    waybill_log::conformance_tests!(super::InMemory);
}

mod on_disk {
    waybill_log::conformance_tests!(super::OnDisk { tail_bytes: 512 * 1024 });
}

/// Nothing is served from memory: every read goes to the disk.
mod on_disk_without_a_tail {
    waybill_log::conformance_tests!(super::OnDisk { tail_bytes: 0 });
}
