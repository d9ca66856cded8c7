//! A compiled reader: recognises its own answers and takes events and facts out of them.

use waybill_schemas::{
    OutcomeClass,
    event::{EstimatedDelivery, Leg, RawEvent, ShipmentFacts},
    limits::{MAX_EVENTS, MAX_TEXT_BYTES},
};

use crate::{
    answer::{Asked, ReadOutcome},
    countries,
    error::Fault,
    explain::{ExplainedField, ExplainedTable},
    field::{Carried, Condition, Field, Place},
    journey::PageOrder,
    node::{Ignored, Node, Path},
    spec::{
        Absent, FactsSpec, MarkerSpec, Midnight, PartSpec, Pick, ReaderSpec, ScopeSpec, Shape, StepName, TableSpec,
        TimesSpec,
    },
    times::{Shown, Times},
    unwrap::Stage,
};

/// How a document is reached and recognised.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) shape: Shape,
    pub(crate) steps: Vec<StepName>,
    pub(crate) unwrap: Vec<Stage>,
    pub(crate) accept: Condition,
    pub(crate) ignore: Vec<Path>,
    scope: Option<Scope>,
}

/// A compiled reader.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) name: String,
    pub(crate) entry: Entry,
    pub(crate) order: PageOrder,
    tables: Vec<Table>,
    distinct: bool,
    facts: Facts,
    not_found: Vec<Marker>,
    no_scan: Vec<Marker>,
    blocked: Vec<Marker>,
    unreadable: Vec<Marker>,
    needs_data: Vec<Marker>,
    throttled: Vec<Marker>,
    down: Vec<Marker>,
    pub(crate) also: Vec<Part>,
    pub(crate) may_lack_end: bool,
}

/// Another answer that belongs to the same history.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) entry: Entry,
    tables: Vec<Table>,
    facts: Facts,
}

#[derive(Debug)]
struct Scope {
    each: Path,
    number: Option<Field>,
    pick: Pick,
    absent: Absent,
}

#[derive(Debug)]
struct Table {
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
enum Rows {
    Select(Path),
    Split { container: Path, at: Path },
}

#[derive(Debug)]
struct Marker {
    when: Condition,
    text: Option<Field>,
    code: Option<Field>,
    needs: Vec<String>,
    sub_status: Option<waybill_schemas::SubStatus>,
}

#[derive(Debug, Default)]
struct Facts {
    status: Option<Field>,
    status_code: Option<Field>,
    eta: Option<Eta>,
    origin: Option<Field>,
    destination: Option<Field>,
    service: Option<Field>,
    weight: Option<Field>,
    legs: Vec<(Field, Field)>,
    private: Vec<(String, Field)>,
}

#[derive(Debug)]
struct Eta {
    from: Field,
    to: Option<Field>,
    times: Times,
}

/// What all readers of an adapter share.
pub(crate) struct Shared<'a> {
    pub(crate) zone: Option<&'a str>,
    pub(crate) languages: &'a [String],
}

/// Why what was extracted cannot be used.
pub(crate) type TooMuch = String;

impl Reader {
    pub(crate) fn compile(spec: &ReaderSpec, shared: &Shared<'_>) -> Result<Self, Fault> {
        let shape = spec.shape;
        let markers = [
            &spec.not_found,
            &spec.no_scan,
            &spec.blocked,
            &spec.unreadable,
            &spec.needs_data,
            &spec.throttled,
            &spec.down,
        ];
        if spec.tables.is_empty() && markers.iter().all(|markers| markers.is_empty()) {
            return Err(Fault::new(
                &spec.name,
                format!("reader `{}` reads nothing; give it tables or markers", spec.name),
            ));
        }
        let markers =
            |specs: &[MarkerSpec]| specs.iter().map(|spec| Marker::compile(shape, spec)).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            name: spec.name.clone(),
            entry: Entry {
                shape,
                steps: spec.steps.clone(),
                unwrap: spec.unwrap.iter().map(Stage::compile).collect::<Result<_, _>>()?,
                accept: Condition::compile(shape, &spec.accept)?,
                ignore: spec.ignore.iter().map(|css| Path::compile(shape, css)).collect::<Result<_, _>>()?,
                scope: spec.scope.as_ref().map(|scope| Scope::compile(shape, scope)).transpose()?,
            },
            order: spec.order,
            tables: compile_tables(shape, &spec.tables, &spec.times, shared)?,
            distinct: spec.distinct,
            facts: Facts::compile(shape, &spec.facts, shared)?,
            not_found: markers(&spec.not_found)?,
            no_scan: markers(&spec.no_scan)?,
            blocked: markers(&spec.blocked)?,
            unreadable: markers(&spec.unreadable)?,
            needs_data: markers(&spec.needs_data)?,
            throttled: markers(&spec.throttled)?,
            down: markers(&spec.down)?,
            also: spec.also.iter().map(|part| Part::compile(part, &spec.times, shared)).collect::<Result<_, _>>()?,
            may_lack_end: spec.may_lack_end,
        })
    }

    /// Reads a document that this reader accepted. Other parts are merged by the caller.
    pub(crate) fn read(&self, place: &Place<'_, '_>, number: Option<&str>) -> ReadOutcome {
        let Some(place) = self.entry.scoped(place, number) else { return self.absent(place) };
        if let Some(outcome) = self.refused(&place) {
            return outcome;
        }
        let mut outcome = ReadOutcome::new(OutcomeClass::Tracked, &self.name);
        outcome.facts = self.facts.read(&place);
        if let Err(why) = take_tables(&self.tables, &place, self.distinct, &mut outcome.events) {
            return ReadOutcome::unreadable(&self.name, why);
        }
        outcome
    }

    /// What each selector finds, for people who write adapters.
    pub(crate) fn explain(&self, place: &Place<'_, '_>, number: Option<&str>) -> Vec<ExplainedTable> {
        let Some(place) = self.entry.scoped(place, number) else { return Vec::new() };
        self.tables.iter().map(|table| table.explain(&place)).collect()
    }

    /// What markers say when no row was found; without one, nothing is known.
    pub(crate) fn without_rows(&self, place: &Place<'_, '_>, number: Option<&str>, outcome: &mut ReadOutcome) {
        let Some(place) = self.entry.scoped(place, number) else { return };
        let kinds = [(&self.not_found, OutcomeClass::NotFound), (&self.no_scan, OutcomeClass::RegisteredNoScan)];
        for (markers, class) in kinds {
            if let Some(marker) = markers.iter().find(|marker| marker.when.holds(&place)) {
                outcome.class = class;
                marker.tell(&place, outcome);
                return;
            }
        }
        outcome.class = OutcomeClass::Unreadable;
        outcome.facts = ShipmentFacts::default();
        outcome.detail = Some("the answer shows neither events nor a known message".to_owned());
    }

    /// What an answer comes to that does not speak of the number, or cannot be told to.
    fn absent(&self, whole: &Place<'_, '_>) -> ReadOutcome {
        if let Some(outcome) = self.refused(whole) {
            return outcome;
        }
        match &self.entry.scope {
            Some(Scope { absent: Absent::NotFound, .. }) => {
                let mut outcome = ReadOutcome::new(OutcomeClass::NotFound, &self.name);
                outcome.detail = Some("the answer leaves the number out".to_owned());
                outcome
            }
            Some(_) => ReadOutcome::unreadable(&self.name, "the answer does not speak of the number"),
            None => ReadOutcome::unreadable(&self.name, "the answer to several numbers cannot be told apart"),
        }
    }

    fn refused(&self, place: &Place<'_, '_>) -> Option<ReadOutcome> {
        let kinds = [
            (&self.blocked, OutcomeClass::Blocked, "the carrier refuses automated requests"),
            (&self.needs_data, OutcomeClass::NeedsData, "the carrier wants more than the number"),
            (&self.throttled, OutcomeClass::Throttled, "the carrier says that it is asked too often"),
            (&self.down, OutcomeClass::CarrierDown, "the carrier says that it cannot answer"),
            (&self.unreadable, OutcomeClass::Unreadable, "the carrier answered with an error"),
        ];
        kinds.into_iter().find_map(|(markers, class, detail)| {
            let marker = markers.iter().find(|marker| marker.when.holds(place))?;
            let mut outcome = ReadOutcome::new(class, &self.name);
            outcome.detail = Some(detail.to_owned());
            outcome.needs.clone_from(&marker.needs);
            Some(outcome)
        })
    }
}

impl Part {
    fn compile(spec: &PartSpec, times: &TimesSpec, shared: &Shared<'_>) -> Result<Self, Fault> {
        let shape = spec.shape;
        Ok(Self {
            entry: Entry {
                shape,
                steps: spec.steps.clone(),
                unwrap: spec.unwrap.iter().map(Stage::compile).collect::<Result<_, _>>()?,
                accept: Condition::compile(shape, &spec.accept)?,
                ignore: spec.ignore.iter().map(|css| Path::compile(shape, css)).collect::<Result<_, _>>()?,
                scope: spec.scope.as_ref().map(|scope| Scope::compile(shape, scope)).transpose()?,
            },
            tables: compile_tables(shape, &spec.tables, spec.times.as_ref().unwrap_or(times), shared)?,
            facts: Facts::compile(shape, &spec.facts, shared)?,
        })
    }

    /// Adds what this part knows to what the first one said.
    pub(crate) fn merge(
        &self,
        place: &Place<'_, '_>,
        number: Option<&str>,
        outcome: &mut ReadOutcome,
    ) -> Result<(), TooMuch> {
        let Some(place) = self.entry.scoped(place, number) else { return Ok(()) };
        take_tables(&self.tables, &place, true, &mut outcome.events)?;
        let more = self.facts.read(&place);
        let facts = &mut outcome.facts;
        fn or(mine: &mut Option<String>, more: Option<String>) {
            if mine.is_none() {
                *mine = more;
            }
        }
        or(&mut facts.status_text, more.status_text);
        or(&mut facts.status_code, more.status_code);
        or(&mut facts.origin, more.origin);
        or(&mut facts.destination, more.destination);
        or(&mut facts.service, more.service);
        or(&mut facts.weight, more.weight);
        facts.estimated_delivery = facts.estimated_delivery.take().or(more.estimated_delivery);
        facts.legs.extend(more.legs);
        for (name, text) in more.private {
            facts.private.entry(name).or_insert(text);
        }
        Ok(())
    }
}

impl Entry {
    /// The shipment in the answer that bears the number asked, else the one the adapter picks; `None` where only the one
    /// asked will do and is not there.
    fn scoped<'d, 'c>(&self, place: &Place<'d, 'c>, number: Option<&str>) -> Option<Place<'d, 'c>> {
        let several = place.reading.asked == Asked::Several;
        let Some(scope) = &self.scope else { return (!several).then(|| place.clone()) };
        let candidates = place.document.select(&scope.each);
        let at = |node: &Node<'d>| Place { row: node.clone(), document: node.clone(), ..place.clone() };
        let canonical = |text: &str| -> String {
            text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
        };
        let asked = number.map(canonical);
        let named = candidates.iter().find(|node| {
            let shown = scope.number.as_ref().and_then(|field| field.read(&at(node)));
            shown.is_some() && shown.as_deref().map(canonical) == asked
        });
        let picked = match scope.pick {
            Pick::First => candidates.first(),
            Pick::Last => candidates.last(),
            Pick::None => None,
        };
        if several || scope.pick == Pick::None {
            return named.map(at);
        }
        Some(named.or(picked).map_or_else(|| place.clone(), at))
    }
}

impl Scope {
    fn compile(shape: Shape, spec: &ScopeSpec) -> Result<Self, Fault> {
        Ok(Self {
            each: Path::compile(shape, &spec.each)?,
            number: Field::compile_optional(shape, spec.number.as_ref())?,
            pick: spec.pick,
            absent: spec.absent,
        })
    }
}

impl Marker {
    fn compile(shape: Shape, spec: &MarkerSpec) -> Result<Self, Fault> {
        Ok(Self {
            when: Condition::compile(shape, &spec.when)?,
            text: Field::compile_optional(shape, spec.text.as_ref())?,
            code: Field::compile_optional(shape, spec.code.as_ref())?,
            needs: spec.needs.clone(),
            sub_status: spec.sub_status,
        })
    }

    /// The marker's words become the headline, so that the mapping can tell what sort of "not found" it is.
    fn tell(&self, place: &Place<'_, '_>, outcome: &mut ReadOutcome) {
        outcome.facts.status_text = self.text.as_ref().and_then(|field| field.read(place));
        outcome.facts.status_code = match self.sub_status {
            Some(sub_status) => Some(sub_status.as_str().to_owned()),
            None => self.code.as_ref().and_then(|field| field.read(place)),
        };
    }
}

fn compile_tables(
    shape: Shape,
    specs: &[TableSpec],
    times: &TimesSpec,
    shared: &Shared<'_>,
) -> Result<Vec<Table>, Fault> {
    specs.iter().map(|spec| Table::compile(shape, spec, times, shared)).collect()
}

impl Table {
    fn compile(shape: Shape, spec: &TableSpec, times: &TimesSpec, shared: &Shared<'_>) -> Result<Self, Fault> {
        let (source, selector) = match (&spec.rows, &spec.split) {
            (Some(rows), None) => (Rows::Select(Path::compile(shape, rows)?), rows.clone()),
            (None, Some(split)) if shape == Shape::Html => {
                let (container, at) = (Path::compile(shape, &split.container)?, Path::compile(shape, &split.at)?);
                (Rows::Split { container, at }, split.container.clone())
            }
            (None, Some(split)) => return Err(Fault::new(&split.at, "only HTML can be split; select rows instead")),
            _ => return Err(Fault::new("tables", "a table has either rows or split")),
        };
        if spec.text.is_none() && spec.code.is_none() {
            return Err(Fault::new(
                &selector,
                format!("the table `{selector}` has neither text nor code; an event needs one"),
            ));
        }
        let own = spec.times.iter();
        let rules: Vec<&TimesSpec> = own.chain([times]).collect();
        let times = Times::compile(&rules, shared.zone, shared.languages)?;
        if spec.time.is_some() && times.is_empty() {
            return Err(Fault::new(
                &selector,
                format!("the table `{selector}` has times but no formats; add times: {{formats: […]}}"),
            ));
        }
        let field = |spec: &Option<_>| Field::compile_optional(shape, spec.as_ref());
        Ok(Self {
            source,
            selector,
            each: spec.each.as_deref().map(|each| Path::compile(shape, each)).transpose()?,
            heading: spec.heading.as_deref().map(|heading| Path::compile(shape, heading)).transpose()?,
            skip: spec.skip.as_ref().map(|skip| Condition::compile(shape, skip)).transpose()?,
            when: spec.when.as_ref().map(|when| Condition::compile(shape, when)).transpose()?,
            times,
            fields: [
                field(&spec.time)?,
                field(&spec.offset)?,
                field(&spec.year)?,
                field(&spec.text)?,
                field(&spec.code)?,
                field(&spec.location)?,
                field(&spec.country)?,
            ],
            leg: spec.leg,
        })
    }

    fn take(&self, whole: &Place<'_, '_>, events: &mut Vec<RawEvent>) -> Result<(), TooMuch> {
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
    fn each_row<'d, 'c>(
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
    fn explain(&self, whole: &Place<'_, '_>) -> ExplainedTable {
        const NAMES: [&str; 7] = ["time", "offset", "year", "text", "code", "location", "country"];
        let carried = Carried::default();
        let mut explained = ExplainedTable { rows: self.selector.clone(), ..ExplainedTable::default() };
        let mut found: [(usize, Option<String>); 7] = Default::default();
        // Too many rows end it; what was seen so far is shown.
        let _ = self.each_row(whole, &mut |place, _| {
            explained.found += 1;
            for (slot, field) in self.fields.iter().enumerate() {
                if let Some(text) = field.as_ref().and_then(|field| field.read_carrying(place, &carried, slot)) {
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

    fn event(&self, place: &Place<'_, '_>, carried: &Carried, index: usize) -> Result<Option<RawEvent>, TooMuch> {
        let mut texts: [Option<String>; 7] = Default::default();
        for (slot, field) in self.fields.iter().enumerate() {
            texts[slot] = field.as_ref().and_then(|field| field.read_carrying(place, carried, slot));
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

fn take_tables(
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

impl Facts {
    fn compile(shape: Shape, spec: &FactsSpec, shared: &Shared<'_>) -> Result<Self, Fault> {
        let field = |spec: &Option<_>| Field::compile_optional(shape, spec.as_ref());
        let eta = spec.eta.as_ref().map(|eta| {
            let times = TimesSpec {
                formats: eta.formats.clone(),
                zone: Some("unknown".to_owned()),
                midnight: Midnight::Date,
                languages: eta.languages.clone(),
                year: eta.year,
                ..TimesSpec::default()
            };
            Ok::<_, Fault>(Eta {
                from: Field::compile(shape, &eta.from)?,
                to: Field::compile_optional(shape, eta.to.as_ref())?,
                times: Times::compile(&[&times], None, shared.languages)?,
            })
        });
        let legs =
            spec.legs.iter().map(|leg| Ok((Field::compile(shape, &leg.carrier)?, Field::compile(shape, &leg.number)?)));
        let private = spec.private.iter().map(|(name, field)| Ok((name.clone(), Field::compile(shape, field)?)));
        Ok(Self {
            status: field(&spec.status)?,
            status_code: field(&spec.status_code)?,
            eta: eta.transpose()?,
            origin: field(&spec.origin)?,
            destination: field(&spec.destination)?,
            service: field(&spec.service)?,
            weight: field(&spec.weight)?,
            legs: legs.collect::<Result<_, Fault>>()?,
            private: private.collect::<Result<_, Fault>>()?,
        })
    }

    fn read(&self, place: &Place<'_, '_>) -> ShipmentFacts {
        let text_of = |field: &Field| field.read(place).filter(|text| text.len() <= MAX_TEXT_BYTES);
        let text = |field: &Option<Field>| field.as_ref().and_then(text_of);
        let country = |field: &Option<Field>| text(field).as_deref().and_then(countries::code_of).map(str::to_owned);
        let legs = self.legs.iter().filter_map(|(carrier, number)| {
            Some(Leg { carrier: carrier.read(place)?, number: number.read(place)?.trim().to_owned() })
        });
        // Who receives or signs is nobody's business unless the operator says so.
        let private = self.private.iter().filter(|(name, _)| place.reading.private.contains(name));
        let private = private.filter_map(|(name, field)| Some((name.clone(), text_of(field)?)));
        ShipmentFacts {
            status_text: text(&self.status),
            status_code: text(&self.status_code),
            estimated_delivery: self.eta.as_ref().and_then(|eta| eta.read(place)),
            origin: country(&self.origin),
            destination: country(&self.destination),
            service: text(&self.service),
            weight: text(&self.weight),
            legs: legs.collect(),
            private: private.collect(),
        }
    }
}

impl Eta {
    fn read(&self, place: &Place<'_, '_>) -> Option<EstimatedDelivery> {
        let iso = |field: &Field| {
            let shown = field.read(place)?;
            let shown = Shown { time: &shown, seen_at: place.reading.seen_at, ahead: true, ..Shown::default() };
            self.times.read(shown).map(|time| time.iso)
        };
        let from = iso(&self.from)?;
        let to = self.to.as_ref().and_then(iso).unwrap_or_else(|| from.clone());
        Some(EstimatedDelivery { from, to, source: "carrier".to_owned() })
    }
}

/// The nodes whose text is left out.
pub(crate) fn ignored(document: &Node<'_>, paths: &[Path]) -> Ignored {
    let found = paths.iter().flat_map(|path| document.select(path));
    found.filter_map(|node| if let Node::Html(element) = node { Some(element.id()) } else { None }).collect()
}
