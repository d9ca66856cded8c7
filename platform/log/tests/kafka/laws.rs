//! The laws of the seam, on a real broker.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use waybill_log::{
    KafkaLog, KafkaOptions, Log as _, NewTopic,
    conformance::{Backend, Instance},
    kafka::testing::{KafkaFaults, TestBroker},
};
use waybill_schemas::topics::Cleanup;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A log of its own on the shared broker.
pub(crate) async fn instance(change: impl FnOnce(&mut KafkaOptions)) -> Instance {
    crate::tools::logs();
    let broker = TestBroker::shared().await;
    let mut options = broker.options();
    options.clock_topic = "clock".to_owned();
    change(&mut options);
    let log = KafkaLog::connect(options).await.unwrap();
    let clock = NewTopic {
        name: "clock".to_owned(),
        partitions: 1,
        cleanup: Cleanup::Compact,
        retention: std::time::Duration::from_secs(3_600),
        min_compaction_lag: std::time::Duration::ZERO,
    };
    log.create_topics(&[clock]).await.unwrap();
    let faults = Arc::new(KafkaFaults::new(&log, &broker.brokers()));
    let prefix = format!("law{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    Instance { log: Arc::new(log), faults, prefix, keep: Box::new(()) }
}

struct Classic;

#[async_trait]
impl Backend for Classic {
    async fn fresh(&self) -> Instance {
        instance(|_| {}).await
    }
}

mod classic {
    waybill_log::conformance_tests!(super::Classic);
}
