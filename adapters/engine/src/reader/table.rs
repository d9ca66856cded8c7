//! Where events stand in an answer, and one event out of each row.

use waybill_schemas::{
    event::RawEvent,
    limits::{MAX_EVENTS, MAX_TEXT_BYTES},
};

use super::{Shared, TooMuch};
use crate::{
    condition::Condition,
    countries,
    error::{Fault, Faults},
    explain::{ExplainedField, ExplainedTable},
    field::{Carried, Field, Place},
    node::{Node, Path},
    spec::{ConditionSpec, Shape, SplitSpec, TableSpec, TimesSpec},
    times::{Shown, Times},
    work,
};

#[derive(Debug)]
pub(super) struct Table {
    source: Rows,
    /// The selector as written, for events to say where they stood.
    selector: String,
    each: Option<Path>,
    heading: Option<Path>,
    skip: Option<Condition>,
    when: Option<Condition>,
    times: Times,
    /// time, offset, year, text, code, location, country
    fields: [Option<Field>; 7],
    leg: u8,
}

#[derive(Debug)]
pub(super) enum Rows {
    Select(Path),
    Split { container: Path, at: Path },
}

impl Rows {
    fn split(shape: Shape, split: &SplitSpec) -> Result<Self, Fault> {
        Ok(Self::Split { container: Path::compile(shape, &split.container)?, at: Path::compile(shape, &split.at)? })
    }
}

pub(super) fn compile_tables(
    shape: Shape,
    specs: &[TableSpec],
    times: &TimesSpec,
    shared: &Shared<'_>,
) -> Result<Vec<Table>, Faults> {
    let mut faults = Faults::default();
    faults.keep_all(specs.iter().map(|spec| Table::compile(shape, spec, times, shared))).ok_or(faults)
}

impl Table {
    pub(super) fn compile(
        shape: Shape,
        spec: &TableSpec,
        times: &TimesSpec,
        shared: &Shared<'_>,
    ) -> Result<Self, Faults> {
        let (rows, selector) = match (&spec.rows, &spec.split) {
            (Some(rows), None) => (Path::compile(shape, rows).map(Rows::Select), rows.clone()),
            (None, Some(split)) if shape == Shape::Html => (Rows::split(shape, split), split.container.clone()),
            (None, Some(split)) => {
                return Err(Fault::new(&split.at, "only HTML can be split; select rows instead").into());
            }
            _ => {
                let problem = "a table has either rows or split; a path that begins with # stands in quotes";
                return Err(Fault::new("tables", problem).into());
            }
        };
        let mut faults = Faults::default();
        if spec.text.is_none() && spec.code.is_none() {
            let problem = format!("the table `{selector}` has neither text nor code; an event needs one");
            faults.add(Fault::new(&selector, problem));
        }
        let own = spec.times.iter();
        let rules: Vec<&TimesSpec> = own.chain([times]).collect();
        if spec.time.is_some() && rules.iter().all(|rules| rules.formats.is_empty()) {
            let problem = format!("the table `{selector}` has times but no formats; add times: {{formats: […]}}");
            faults.add(Fault::new(&selector, problem));
        }
        let written = [&spec.time, &spec.offset, &spec.year, &spec.text, &spec.code, &spec.location, &spec.country];
        let fields = written.map(|spec| faults.keep(Field::compile_optional(shape, spec.as_ref())).flatten());
        let path = |text: &String| Path::compile(shape, text);
        let condition = |spec: &ConditionSpec| Condition::compile(shape, spec);
        let made = (
            faults.keep(rows),
            faults.keep(Times::compile(&rules, shared.zone, shared.languages)),
            faults.keep_optional(spec.each.as_ref().map(path)),
            faults.keep_optional(spec.heading.as_ref().map(path)),
            faults.keep_optional(spec.skip.as_ref().map(condition)),
            faults.keep_optional(spec.when.as_ref().map(condition)),
        );
        match made {
            (Some(source), Some(times), Some(each), Some(heading), Some(skip), Some(when)) if faults.is_empty() => {
                Ok(Self { source, selector, each, heading, skip, when, times, fields, leg: spec.leg })
            }
            _ => Err(faults),
        }
    }

    pub(super) fn take(&self, whole: &Place<'_, '_>, events: &mut Vec<RawEvent>) -> Result<(), TooMuch> {
        let carried = Carried::default();
        self.each_row(whole, &mut |place, index| {
            let Some(event) = self.event(place, &carried, index)? else { return Ok(()) };
            if events.len() == MAX_EVENTS {
                return Err(format!("the answer has more than {MAX_EVENTS} events"));
            }
            events.push(event);
            Ok(())
        })
    }

    /// Shows each row that is not skipped, with its number from 1 (headings are not counted, skipped rows are).
    pub(super) fn each_row<'d, 'c>(
        &self,
        whole: &Place<'d, 'c>,
        see: &mut impl FnMut(&Place<'d, 'c>, usize) -> Result<(), TooMuch>,
    ) -> Result<(), TooMuch> {
        if self.when.as_ref().is_some_and(|when| !when.holds(whole)) {
            return Ok(());
        }
        let mut index = 0;
        let groups: Vec<(Node<'_>, Option<Node<'_>>)> = match &self.each {
            None => vec![(whole.row.clone(), None)],
            Some(each) => whole.row.select(each).into_iter().map(|group| (group.clone(), Some(group))).collect(),
        };
        for (start, group) in groups {
            let rows = match &self.source {
                Rows::Select(path) => start.select(path),
                Rows::Split { container, at } => start.split(container, at),
            };
            let mut heading = None;
            for row in rows {
                if !work::step(1) {
                    return Err(work::TOO_MUCH.to_owned());
                }
                if self.heading.as_ref().is_some_and(|heading| row.is(heading)) {
                    heading = Some(row);
                    continue;
                }
                let place = Place { row, group: group.clone(), heading: heading.clone(), ..whole.clone() };
                index += 1;
                if self.skip.as_ref().is_some_and(|skip| skip.holds(&place)) {
                    continue;
                }
                see(&place, index)?;
            }
        }
        Ok(())
    }

    /// What each selector of this table finds.
    pub(super) fn explain(&self, whole: &Place<'_, '_>) -> ExplainedTable {
        const NAMES: [&str; 7] = ["time", "offset", "year", "text", "code", "location", "country"];
        let carried = Carried::default();
        let mut explained = ExplainedTable { rows: self.selector.clone(), ..ExplainedTable::default() };
        let mut found: [(usize, Option<String>); 7] = Default::default();
        // Too many rows end it; what was seen so far is shown.
        let _ = self.each_row(whole, &mut |place, _| {
            explained.found += 1;
            for (slot, field) in self.fields.iter().enumerate() {
                if let Some(text) = field.as_ref().and_then(|field| field.read_carrying(place, &carried)) {
                    found[slot].0 += 1;
                    found[slot].1.get_or_insert(text);
                }
            }
            if explained.found > MAX_EVENTS { Err(String::new()) } else { Ok(()) }
        });
        let written = self.fields.iter().zip(NAMES).zip(found).filter(|((field, _), _)| field.is_some());
        explained.fields = written
            .map(|((_, name), (filled, first))| ExplainedField { name, filled, first: first.unwrap_or_default() })
            .collect();
        explained
    }

    pub(super) fn event(
        &self,
        place: &Place<'_, '_>,
        carried: &Carried,
        index: usize,
    ) -> Result<Option<RawEvent>, TooMuch> {
        let mut texts: [Option<String>; 7] = Default::default();
        for (slot, field) in self.fields.iter().enumerate() {
            texts[slot] = field.as_ref().and_then(|field| field.read_carrying(place, carried));
            if texts[slot].as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
                return Err(format!("a text of the answer is longer than {MAX_TEXT_BYTES} bytes"));
            }
        }
        let [time, offset, year, text, code, location, country] = texts;
        if time.is_none() && text.is_none() {
            return Ok(None);
        }
        let shown = Shown {
            time: time.as_deref().unwrap_or_default(),
            offset: offset.as_deref(),
            year: year.as_deref(),
            location: location.as_deref(),
            seen_at: place.reading.seen_at,
            ahead: false,
        };
        let read = time.as_ref().and_then(|_| self.times.read(shown));
        Ok(Some(RawEvent {
            time: read,
            time_raw: time.unwrap_or_default(),
            text: text.unwrap_or_default(),
            code,
            location,
            country: country.as_deref().and_then(countries::code_of).map(str::to_owned),
            leg: self.leg,
            selector: format!("{}[{index}]", self.selector),
        }))
    }
}

pub(super) fn take_tables(
    tables: &[Table],
    place: &Place<'_, '_>,
    distinct: bool,
    events: &mut Vec<RawEvent>,
) -> Result<(), TooMuch> {
    for table in tables {
        let mut found = Vec::new();
        table.take(place, &mut found)?;
        if distinct {
            let same = |a: &RawEvent, b: &RawEvent| a.time_raw == b.time_raw && a.text == b.text;
            found.retain(|event| !events.iter().any(|known| same(known, event)));
        }
        if events.len() + found.len() > MAX_EVENTS {
            return Err(format!("the answer has more than {MAX_EVENTS} events"));
        }
        events.append(&mut found);
    }
    Ok(())
}
