//! Figures of pure cores on one thread: the normalizer, the mapping, the due wheel.

use std::hint::black_box;

use anyhow::{Result, ensure};
use waybill_adapters::Catalog;
use waybill_normalizer::normalize;
use waybill_scheduler::wheel::DueWheel;
use waybill_schemas::{Memories, WallMs, event::RawEvent, fetch::FetchResult};

use crate::{
    carriers::{self, EVENTS, Looks},
    report::{Name, Report},
};

/// What is measured here.
pub(crate) const FIGURES: [Name; 8] = [
    ("events_normalized_first_look", "events/s/core"),
    ("events_normalized_repeated_look", "events/s/core"),
    ("events_normalized_first_look_with_json", "events/s/core"),
    ("mapping_lookups_by_text", "lookups/s/core"),
    ("mapping_lookups_by_code", "lookups/s/core"),
    ("mapping_lookups_unmatched", "lookups/s/core"),
    ("detections", "detections/s/core"),
    ("wheel_operations_among_1m_numbers", "operations/s/core"),
];

/// Parcels that take turns, so that no figure is that of one number in the nearest cache.
const PARCELS: usize = 64;

/// Measures what is wanted.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    if !report.wants_any(&FIGURES) {
        return Ok(());
    }
    normalizing(report)?;
    mapping(report)?;
    detecting(report)?;
    wheel(report)
}

fn normalizing(report: &mut Report) -> Result<()> {
    let looks = Looks::new()?;
    let adapter = Some(looks.adapter.as_ref());
    let first: Vec<FetchResult> = (0..PARCELS).map(|n| looks.result(n, Memories::default())).collect::<Result<_>>()?;
    let mut again = Vec::with_capacity(PARCELS);
    for (n, result) in first.iter().enumerate() {
        let done = normalize(result, adapter);
        ensure!(done.events.len() == EVENTS, "a first look makes {} of {EVENTS} events", done.events.len());
        let result = looks.result(n, done.outcome.memories)?;
        ensure!(normalize(&result, adapter).events.is_empty(), "a repeated look makes new events");
        again.push(result);
    }
    let json: Vec<Vec<u8>> = first.iter().map(serde_json::to_vec).collect::<Result<_, _>>()?;
    for bytes in &json {
        read_normalize_write(bytes, &looks)?;
    }

    let all_of = |results: &[FetchResult]| {
        for result in results {
            black_box(normalize(black_box(result), adapter));
        }
    };
    report.per_second("events_normalized_first_look", PARCELS * EVENTS, || all_of(&first))?;
    report.per_second("events_normalized_repeated_look", PARCELS * EVENTS, || all_of(&again))?;
    report.per_second("events_normalized_first_look_with_json", PARCELS * EVENTS, || {
        for bytes in &json {
            let _ = black_box(read_normalize_write(black_box(bytes), &looks));
        }
    })
}

/// From a result's record to the records it becomes, but for their headers.
fn read_normalize_write(bytes: &[u8], looks: &Looks) -> Result<usize> {
    let result: FetchResult = serde_json::from_slice(bytes)?;
    let done = normalize(&result, Some(&looks.adapter));
    let mut written = serde_json::to_vec(&done.outcome)?.len();
    for event in &done.events {
        written += serde_json::to_vec(event)?.len();
    }
    written += serde_json::to_vec(&done.shipment)?.len() + serde_json::to_vec(&done.change)?.len();
    Ok(written)
}

fn mapping(report: &mut Report) -> Result<()> {
    let (page, api) = (carriers::adapter("aurora-post")?, carriers::adapter("cobalt-cargo")?);
    let texts = carriers::read(&page, &carriers::html(EVENTS, 0), EVENTS)?.events;
    let codes = carriers::read(&api, &carriers::json(EVENTS), EVENTS)?.events;
    let unknown: Vec<RawEvent> = (0..EVENTS)
        .map(|n| RawEvent { text: format!("Parcel seen at bay {n} of the new hall"), ..RawEvent::default() })
        .collect();
    let figures = [
        ("mapping_lookups_by_text", &page, &texts),
        ("mapping_lookups_by_code", &api, &codes),
        ("mapping_lookups_unmatched", &page, &unknown),
    ];
    for (name, adapter, events) in figures {
        report.per_second(name, events.len(), || {
            for event in events {
                black_box(adapter.mapping.map(black_box(event)));
            }
        })?;
    }
    Ok(())
}

/// Numbers of all sorts against every form of every carrier.
fn detecting(report: &mut Report) -> Result<()> {
    const NAME: &str = "detections";
    if !report.wants(NAME) {
        return Ok(());
    }
    let catalog = Catalog::embedded()?;
    let detector = catalog.detector();
    let digits = |n: usize, length: usize| {
        format!("{:0length$}", (n as u128 + 1) * 7_919_000_000_000_007 % 10_u128.pow(length.min(38) as u32))
    };
    let numbers: Vec<String> = (0..PARCELS)
        .map(|n| match n % 6 {
            0 => format!("1Z{:06}{:02}{}", n, n % 90, digits(n, 8)),
            1 => digits(n, 12),
            2 => format!("9400 1{}", digits(n, 17)),
            3 => format!("RB{}GB", digits(n, 9)),
            4 => format!("TBA{}", digits(n, 12)),
            _ => digits(n, 10),
        })
        .collect();
    let found: usize =
        numbers.iter().filter_map(|typed| detector.detect(typed).ok()).map(|one| one.candidates.len()).sum();
    ensure!(found >= PARCELS, "{found} candidates of {PARCELS} numbers");
    report.per_second(NAME, numbers.len(), || {
        for typed in &numbers {
            let _ = black_box(detector.detect(black_box(typed)));
        }
    })
}

/// A full wheel at work: the oldest due number is taken and put back for later, and a number elsewhere is moved, as a
/// refresh does.
fn wheel(report: &mut Report) -> Result<()> {
    const NUMBERS: u32 = 1_000_000;
    const TURNS: usize = 1_000;
    const INTERVAL_MS: i64 = 6 * 3_600_000;
    const NAME: &str = "wheel_operations_among_1m_numbers";
    if !report.wants(NAME) {
        return Ok(());
    }
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = move |below: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % below
    };
    let mut places: Vec<WallMs> = Vec::new();
    let mut wheel = DueWheel::default();
    for number in 0..NUMBERS {
        let at = WallMs::new(i64::try_from(roll(INTERVAL_MS.unsigned_abs()))?);
        wheel.insert(at, number);
        places.push(at);
    }
    let mut missed = 0_u64;
    // Six operations a turn: advance, pop, insert; remove, insert, and a look at what is next.
    report.per_second(NAME, 6 * TURNS, || {
        for _ in 0..TURNS {
            let now = wheel.oldest_due().map(|(at, _)| at).or_else(|| wheel.next_at()).unwrap_or(WallMs::ZERO);
            wheel.advance(now);
            let Some((at, number)) = wheel.pop_due() else {
                missed += 1;
                continue;
            };
            let place = &mut places[number as usize];
            *place = at.plus_ms(INTERVAL_MS);
            wheel.insert(*place, number);
            let other = roll(u64::from(NUMBERS)) as u32;
            let place = &mut places[other as usize];
            missed += u64::from(!wheel.remove(*place, other));
            *place = now.plus_ms(roll(INTERVAL_MS.unsigned_abs()) as i64);
            wheel.insert(*place, other);
        }
    })?;
    ensure!(missed == 0 && wheel.len() == NUMBERS as usize, "the wheel lost {missed} numbers");
    Ok(())
}
