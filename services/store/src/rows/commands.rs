//! `waybill.commands` → `registrations`: what was ordered, so that a number is known before the scheduler has taken it.
//! The values of parameters are personal data and stay out.

use waybill_log::Record;
use waybill_schemas::command::{Command, CommandKind};

use super::{Unreadable, instant, json, schedule::RegistrationRow, state_version, words::Worded};
use crate::{
    buffer::Filling,
    columns::{LogPlace, RegistrationSource, Texts, Word, Words},
};

pub(super) fn read(record: &Record, log: LogPlace, into: &mut Filling) -> Result<(), Unreadable> {
    let Some(value) = &record.value else { return Ok(()) };
    let command: Command = json(value)?;
    // Between owners of numbers: nobody registered anything.
    if matches!(command.kind, CommandKind::Probe | CommandKind::Probed) {
        return Ok(());
    }
    let source = match command.kind {
        CommandKind::Register | CommandKind::Lookup => RegistrationSource::Register,
        _ => RegistrationSource::Order,
    };
    let names = command.params.iter().flat_map(|params| params.keys()).map(String::as_str).collect();
    let row = RegistrationRow {
        carrier: Word(command.carrier.as_str()),
        number: command.number.as_str(),
        source,
        kind: Some(Word(command.kind.word())),
        command_id: Some(&command.id),
        command_partition: Some(log.partition),
        command_offset: Some(log.offset),
        r#ref: command.reference.as_deref(),
        tags: Texts(command.tags.as_deref().unwrap_or_default()),
        origin: command.origin.as_deref().map(Word),
        destination: command.destination.as_deref().map(Word),
        ordered_at: command.ordered_at.as_deref(),
        params: Words(names),
        until: command.until.and_then(instant),
        version: state_version(0, record.offset),
        log,
        ..RegistrationRow::default()
    };
    into.row(0, &row);
    Ok(())
}
