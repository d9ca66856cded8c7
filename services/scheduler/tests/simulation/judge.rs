//! The verdict: what the changelog says at the end, beside what the world has witnessed.

use std::collections::BTreeMap;

use waybill_log::claims;
use waybill_schemas::{
    ShipmentKey, Status,
    schedule::ScheduleRecord,
    shipment::{StopReason, Tracking},
    topics::names,
};

use crate::{
    PARTITIONS,
    world::{World, at},
};

/// What the changelog says, read as a new owner would.
async fn state(world: &World) -> BTreeMap<String, ScheduleRecord> {
    let mut all = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let place = at(names::SCHEDULE, partition);
        let epoch = claims::claim(world.log.as_ref(), &place, "the end").await.unwrap();
        let restored = claims::restore(world.log.as_ref(), &place, epoch, None, |found| {
            if let Some(value) = found.record.value.as_ref().filter(|_| found.key().contains(':')) {
                all.insert(found.key().to_owned(), serde_json::from_slice(value).unwrap());
            }
            Ok(())
        });
        let _ = restored.await.unwrap();
    }
    all
}

pub(crate) async fn judge(world: &World, numbers: &[ShipmentKey], seed: u64) {
    let state = state(world).await;
    let witness = world.witness.lock().unwrap();
    eprintln!(
        "seed {seed}: {} attempts answered, {} outcomes twice, {} late requests, {} polls",
        witness.answered,
        witness.twice,
        witness.late,
        witness.numbers.values().map(|seen| seen.polls).sum::<u32>()
    );
    assert!(witness.violations.is_empty(), "SCH-2, seed {seed}: {:#?}", witness.violations);
    for key in numbers {
        let record = state.get(&key.record_key()).unwrap_or_else(|| panic!("SCH-1, seed {seed}: {key:?} is lost"));
        let seen = witness.numbers.get(key).unwrap();
        assert_eq!(record.tracking, Tracking::Stopped, "SCH-1, seed {seed}: {key:?} never ended: {record:?}");
        assert!(
            matches!(record.stop_reason, Some(StopReason::Delivered | StopReason::Expired)),
            "SCH-1, seed {seed}: {key:?}: {:?}",
            record.stop_reason
        );
        if record.stop_reason == Some(StopReason::Delivered) {
            assert_eq!(record.status, Some(Status::Delivered));
        }
        assert!(seen.published_stop && record.pending.is_none(), "SCH-1, seed {seed}: {key:?} ended unpublished");
    }
}
