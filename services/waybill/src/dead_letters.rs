//! `waybill dead-letters list|replay`: records that could not be processed, and writing them back where that is safe (the
//! rules are in `waybill_log::letters`).
//!
//! Order of a replay: the original is appended → acknowledged → its letter is marked. A crash in between writes it back once
//! more, which is harmless for whatever may be written back at all. Of a compacted topic a record is written back only while
//! nothing newer of its key stands behind it; should somebody write a newer one just then, that one is written again behind
//! ours, so that the last record of the key stays the newest.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use serde_json::json;
use waybill_log::{
    Log, NewRecord, Record, TopicPartition,
    letters::{Letter, WriteBack, mark_replayed, replayed},
    records::produce_all,
};
use waybill_runtime::Clocks;
use waybill_schemas::{
    WallMs,
    topics::{self, TopicPrefix, names},
};

use crate::{
    command_log::{CommandLog, read_range},
    config::Config,
};

/// Letters that are written back in one go.
const CHUNK: usize = 100;

/// Which letters.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Only those of this reason.
    pub reason: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Whether a replay is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// It is.
    Do,
    /// It is only told.
    Say,
}

/// All letters that are kept, and which of them were written back.
struct Letters {
    at: TopicPartition,
    all: Vec<Letter>,
    replayed: BTreeSet<u64>,
}

async fn read(log: &dyn Log, prefix: &TopicPrefix, reason: Option<&str>) -> Result<Letters> {
    let at = TopicPartition::new(prefix.of(names::DEAD_LETTERS), 0);
    let bounds = log.bounds(&at).await?;
    let mut letters = Letters { at: at.clone(), all: Vec::new(), replayed: BTreeSet::new() };
    read_range(log, &at, (bounds.first, bounds.next), |record| {
        if let Some(marked) = replayed(record) {
            letters.replayed.extend(marked);
        } else if let Some(letter) = Letter::of(record)
            && reason.is_none_or(|reason| reason == letter.reason)
        {
            letters.all.push(letter);
        }
        Ok(())
    })
    .await?;
    Ok(letters)
}

/// The topic's name without the configured prefix, if it is one of ours.
fn topic_of(prefix: &TopicPrefix, letter: &Letter) -> Option<&'static str> {
    topics::all().iter().find(|spec| prefix.of(&spec.name) == *letter.from.topic).map(|spec| spec.name.as_str())
}

fn age(now: WallMs, letter: &Letter) -> String {
    let seconds = now.since_ms(letter.append_time).max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `waybill dead-letters list`.
///
/// # Errors
/// When the log cannot be read.
pub(crate) async fn list(config: &Config, wanted: &Wanted, form: Form, out: &mut dyn Write) -> Result<()> {
    let opened = CommandLog::open(config).await?;
    list_of(opened.log.as_ref(), &opened.topics, (wanted, form), out).await?;
    opened.close().await;
    Ok(())
}

async fn list_of(
    log: &dyn Log,
    prefix: &TopicPrefix,
    (wanted, form): (&Wanted, Form),
    out: &mut dyn Write,
) -> Result<()> {
    let letters = read(log, prefix, wanted.reason.as_deref()).await?;
    let now = Clocks::system_now();
    let skipped = letters.all.len().saturating_sub(wanted.limit);
    for letter in &letters.all[skipped..] {
        let done = letters.replayed.contains(&letter.offset);
        let (topic, partition, offset) = (&letter.from.topic, letter.from.partition, letter.from_offset);
        match form {
            Form::Json => {
                let shown = json!({
                    "letter": letter.offset, "reason": letter.reason, "detail": letter.detail,
                    "service": letter.service, "topic": topic.as_ref(), "partition": partition, "offset": offset,
                    "at": letter.append_time, "age_s": now.since_ms(letter.append_time).max(0) / 1_000,
                    "value_omitted": letter.value_omitted, "replayed": done,
                });
                writeln!(out, "{shown}")?;
            }
            Form::Text => {
                let mark = if done { "  (written back)" } else { "" };
                let (age, reason, service) = (age(now, letter), &letter.reason, &letter.service);
                writeln!(out, "{age:>7}  {reason:<20} {service:<11} {topic}/{partition}@{offset}{mark}")?;
                if !letter.detail.is_empty() {
                    writeln!(out, "         {}", letter.detail)?;
                }
            }
        }
    }
    if form == Form::Text {
        let (shown, all) = (letters.all.len() - skipped, letters.all.len());
        writeln!(out, "{shown} of {all} dead letters")?;
    }
    Ok(())
}

/// What is to become of a letter.
enum Fate<'l> {
    Written(&'l Letter, NewRecord),
    Kept(&'l Letter, String),
}

/// `waybill dead-letters replay`.
///
/// # Errors
/// When the log cannot be read or written; what was written back until then is marked.
pub(crate) async fn replay(config: &Config, wanted: &Wanted, act: Act, out: &mut dyn Write) -> Result<()> {
    let opened = CommandLog::open(config).await?;
    replay_on(opened.log.as_ref(), &opened.topics, (wanted, act), out).await?;
    opened.close().await;
    Ok(())
}

async fn replay_on(
    log: &dyn Log,
    prefix: &TopicPrefix,
    (wanted, act): (&Wanted, Act),
    out: &mut dyn Write,
) -> Result<()> {
    let (mut written, mut kept) = (0, 0);
    let letters = read(log, prefix, wanted.reason.as_deref()).await?;
    let open: Vec<&Letter> =
        letters.all.iter().filter(|letter| !letters.replayed.contains(&letter.offset)).take(wanted.limit).collect();
    let before = letters.all.iter().filter(|letter| letters.replayed.contains(&letter.offset)).count();
    for chunk in open.chunks(CHUNK) {
        let mut ready = Vec::new();
        for fate in fates(log, prefix, chunk).await? {
            match fate {
                Fate::Written(letter, record) => {
                    written += 1;
                    say(out, letter, if act == Act::Say { "would be written back" } else { "written back" })?;
                    ready.push((letter, record));
                }
                Fate::Kept(letter, why) => {
                    kept += 1;
                    say(out, letter, &format!("not written back: {why}"))?;
                }
            }
        }
        if act == Act::Do && !ready.is_empty() {
            write_back(log, prefix, &letters.at, ready).await?;
        }
    }
    let verb = if act == Act::Say { "would be written back" } else { "written back" };
    writeln!(out, "{written} {verb}, {kept} cannot be, {before} were before")?;
    Ok(())
}

fn say(out: &mut dyn Write, letter: &Letter, what: &str) -> Result<()> {
    let (reason, topic) = (&letter.reason, &letter.from.topic);
    writeln!(out, "{reason} {topic}/{}@{}: {what}", letter.from.partition, letter.from_offset)?;
    Ok(())
}

async fn fates<'l>(log: &dyn Log, prefix: &TopicPrefix, letters: &[&'l Letter]) -> Result<Vec<Fate<'l>>> {
    let mut fates = Vec::new();
    let newer = newer_keys(log, prefix, letters).await?;
    for &letter in letters {
        let Some(topic) = topic_of(prefix, letter) else {
            fates.push(Fate::Kept(letter, "its topic is none of this prefix".to_owned()));
            continue;
        };
        match letter.write_back(topic) {
            WriteBack::Never(why) => {
                fates.push(Fate::Kept(letter, why.to_owned()));
                continue;
            }
            WriteBack::IfNewest if newer.contains(&letter.offset) => {
                fates.push(Fate::Kept(letter, "a newer record of its key stands behind it".to_owned()));
                continue;
            }
            WriteBack::IfNewest | WriteBack::Plainly => {}
        }
        let kept = if letter.value_omitted { log.record_at(&letter.from, letter.from_offset).await? } else { None };
        fates.push(match letter.original(kept.as_ref()) {
            Some(record) => Fate::Written(letter, record),
            None => {
                Fate::Kept(letter, "it was too large for its letter and is no longer kept where it stood".to_owned())
            }
        });
    }
    Ok(fates)
}

/// Whether a letter's original is the last state of its key, or would have to be.
fn is_state(prefix: &TopicPrefix, letter: &Letter) -> bool {
    topic_of(prefix, letter).is_some_and(|topic| letter.write_back(topic) == WriteBack::IfNewest)
}

/// Letters of compacted topics behind whose originals something newer of their key stands.
async fn newer_keys(log: &dyn Log, prefix: &TopicPrefix, letters: &[&Letter]) -> Result<BTreeSet<u64>> {
    let mut places: BTreeMap<&TopicPartition, Vec<&Letter>> = BTreeMap::new();
    for letter in letters.iter().filter(|letter| is_state(prefix, letter)) {
        places.entry(&letter.from).or_default().push(letter);
    }
    let mut newer = BTreeSet::new();
    for (at, letters) in places {
        let bounds = log.bounds(at).await?;
        let first = letters.iter().map(|letter| letter.from_offset + 1).min().unwrap_or(bounds.next);
        read_range(log, at, (first.clamp(bounds.first, bounds.next), bounds.next), |record| {
            let beaten = |letter: &&&Letter| letter.from_offset < record.offset && letter.key == record.key;
            newer.extend(letters.iter().filter(beaten).map(|letter| letter.offset));
            Ok(())
        })
        .await?;
    }
    Ok(newer)
}

/// A key of a compacted topic's partition.
type StateKey = (TopicPartition, Option<Bytes>);

async fn write_back(
    log: &dyn Log,
    prefix: &TopicPrefix,
    marks: &TopicPartition,
    ready: Vec<(&Letter, NewRecord)>,
) -> Result<()> {
    let mut ends: BTreeMap<TopicPartition, u64> = BTreeMap::new();
    for (letter, _) in ready.iter().filter(|(letter, _)| is_state(prefix, letter)) {
        if !ends.contains_key(&letter.from) {
            ends.insert(letter.from.clone(), log.bounds(&letter.from).await?.next);
        }
    }
    let letters: Vec<&Letter> = ready.iter().map(|(letter, _)| *letter).collect();
    let appended = produce_all(log, ready.into_iter().map(|(_, record)| record).collect()).await;
    let appended = appended.context("the log did not take all records back; run the command again")?;
    if appended.len() != letters.len() {
        bail!("the log did not acknowledge all records; run the command again");
    }
    let offsets: Vec<u64> = letters.iter().map(|letter| letter.offset).collect();
    produce_all(log, vec![mark_replayed(marks, &offsets)]).await.context("the letters cannot be marked")?;
    let ours: BTreeMap<StateKey, u64> = letters
        .iter()
        .zip(&appended)
        .filter(|(letter, _)| is_state(prefix, letter))
        .map(|(letter, appended)| ((letter.from.clone(), letter.key.clone()), appended.offset))
        .collect();
    for (at, end) in ends {
        let again = overtaken(log, &at, end, &ours).await?;
        produce_all(log, again).await?;
    }
    Ok(())
}

/// Records of somebody else that came between the look and our append: they are to be written again, behind ours.
async fn overtaken(
    log: &dyn Log,
    at: &TopicPartition,
    from: u64,
    ours: &BTreeMap<StateKey, u64>,
) -> Result<Vec<NewRecord>> {
    let end = log.bounds(at).await?.next;
    // Of each key: the last record before ours, and whether one stands behind it anyway.
    let mut last: BTreeMap<Option<Bytes>, Option<Record>> = BTreeMap::new();
    read_range(log, at, (from, end), |record| {
        let Some(own) = ours.get(&(at.clone(), record.key.clone())) else { return Ok(()) };
        if record.offset < *own {
            last.insert(record.key.clone(), Some(record.clone()));
        } else if record.offset > *own {
            last.insert(record.key.clone(), None);
        }
        Ok(())
    })
    .await?;
    let again = last.into_values().flatten();
    Ok(again.map(|Record { key, value, headers, .. }| NewRecord { at: at.clone(), key, value, headers }).collect())
}

#[cfg(test)]
#[path = "dead_letters_tests.rs"]
mod tests;
