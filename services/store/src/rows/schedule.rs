//! `waybill.schedule` → `registrations`: what the scheduler makes of a number. Claims and positions are no rows; the
//! memories and the values of parameters (they are personal data) stay out.

use waybill_log::Record;
use waybill_schemas::{
    detection::DETECT,
    schedule::{CLAIM_KEY, POSITION_KEY, ScheduleRecord},
};

use super::{Unreadable, epoch, instant, json, needed, shipment_key, state_version, words::Worded};
use crate::{
    buffer::Filling,
    columns::{Instant, LogPlace, Part, RegistrationSource, Texts, Word, Words, table_row},
};

table_row! {
    /// What is known of a registration, from one kind of record.
    #[derive(Default)]
    RegistrationRow in "registrations", |_| Part::ALL, {
        carrier: Word<'a>,
        number: &'a str,
        source: RegistrationSource,
        kind: Option<Word<'a>>,
        command_id: Option<&'a str>,
        command_partition: Option<u32>,
        command_offset: Option<u64>,
        r#ref: Option<&'a str>,
        tags: Texts<'a>,
        origin: Option<Word<'a>>,
        destination: Option<Word<'a>>,
        ordered_at: Option<&'a str>,
        params: Words<'a>,
        until: Option<Instant>,
        registered_at: Option<Instant>,
        instance: u32,
        tracking: Option<Word<'a>>,
        stop_reason: Option<Word<'a>>,
        attempt: i64,
        due: Option<Instant>,
        not_before: Option<Instant>,
        why_rule: Option<Word<'a>>,
        why_text: Option<&'a str>,
        why_interval_ms: Option<i64>,
        status: Option<Word<'a>>,
        sub_status: Option<Word<'a>>,
        last_change: Option<Instant>,
        last_reading: Option<Instant>,
        failures: u32,
        epoch: u64,
        version: u128,
        is_deleted: u8,
        log: LogPlace,
    }
}

table_row! {
    /// Where settling an undecided number stands.
    #[derive(Default)]
    SettlementRow in "settlements", |_| Part::ALL, {
        carrier: Word<'a>,
        number: &'a str,
        decided: Option<Word<'a>>,
        round: u32,
        settlement: &'a str,
        version: u128,
        is_deleted: u8,
        log: LogPlace,
    }
}

pub(super) fn read(record: &Record, log: LogPlace, into: &mut Filling) -> Result<(), Unreadable> {
    if matches!(record.key_str(), Some(CLAIM_KEY | POSITION_KEY)) {
        return Ok(());
    }
    let key = shipment_key(record)?;
    let epoch = epoch(record);
    let common = RegistrationRow {
        carrier: Word(key.carrier.as_str()),
        number: key.number.as_str(),
        source: RegistrationSource::Schedule,
        epoch,
        version: state_version(epoch, record.offset),
        log,
        ..RegistrationRow::default()
    };
    let Some(value) = &record.value else {
        into.row(0, &RegistrationRow { is_deleted: 1, ..common });
        if key.carrier.as_str() == DETECT {
            let (carrier, number) = (Word(key.carrier.as_str()), key.number.as_str());
            let version = state_version(epoch, record.offset);
            into.row(1, &SettlementRow { carrier, number, version, is_deleted: 1, log, ..SettlementRow::default() });
        }
        return Ok(());
    };
    let schedule: ScheduleRecord = json(value)?;
    if schedule.probe.is_some() {
        // Nobody registered it: a candidate is asked whether it knows the number.
        return Ok(());
    }
    let row = RegistrationRow {
        r#ref: schedule.reference.as_deref(),
        tags: Texts(&schedule.registration.tags),
        origin: schedule.registration.origin.as_deref().map(Word),
        destination: schedule.registration.destination.as_deref().map(Word),
        ordered_at: schedule.registration.ordered_at.as_deref(),
        params: Words(schedule.params.keys().map(String::as_str).collect()),
        until: schedule.until.and_then(instant),
        registered_at: Some(needed(schedule.registered_at, "registered_at")?),
        instance: schedule.instance,
        tracking: Some(Word(schedule.tracking.word())),
        stop_reason: schedule.stop_reason.map(|reason| Word(reason.word())),
        attempt: schedule.attempt,
        // "Never" is written as the end of time, which the type cannot hold: it is shown as no due time.
        due: instant(schedule.due),
        not_before: schedule.not_before.and_then(instant),
        why_rule: Some(Word(&schedule.why.rule)),
        why_text: Some(&schedule.why.text),
        why_interval_ms: schedule.why.interval_ms,
        status: schedule.status.map(|status| Word(status.as_str())),
        sub_status: schedule.sub_status.map(|sub| Word(sub.as_str())),
        last_change: instant(schedule.last_change),
        last_reading: schedule.last_reading.and_then(instant),
        failures: schedule.failures,
        ..common
    };
    into.row(0, &row);
    if let Some(settlement) = &schedule.settlement {
        let text = serde_json::to_string(settlement).map_err(|error| Unreadable::Value(error.to_string()))?;
        let row = SettlementRow {
            carrier: Word(key.carrier.as_str()),
            number: key.number.as_str(),
            decided: settlement.carrier.as_ref().map(|carrier| Word(carrier.as_str())),
            round: settlement.round,
            settlement: &text,
            version: state_version(epoch, record.offset),
            is_deleted: 0,
            log,
        };
        into.row(1, &row);
    }
    Ok(())
}
