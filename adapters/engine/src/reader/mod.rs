//! A compiled reader: recognises its own answers and takes events and facts out of them.

mod facts;
mod table;

use serde_saphyr::Spanned;
use waybill_schemas::{OutcomeClass, event::ShipmentFacts};

use self::{
    facts::Facts,
    table::{Table, compile_tables, take_tables},
};
use crate::{
    answer::{Asked, ReadOutcome},
    condition::Condition,
    error::{Fault, Faults},
    explain::ExplainedTable,
    field::{Field, Place},
    journey::PageOrder,
    node::{Ignored, Node, Path},
    spec::{
        Absent, ConditionSpec, EntrySpec, MarkerSpec, PartSpec, Pick, ReaderSpec, ScopeSpec, Shape, StatusSpec,
        StepName, TimesSpec,
    },
    unwrap::Stage,
};

/// How a document is reached and recognised.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) shape: Shape,
    pub(crate) steps: Vec<StepName>,
    pub(crate) unwrap: Vec<Stage>,
    pub(crate) accept: Condition,
    /// The line of `accept` in the adapter's file.
    pub(crate) line: Option<u64>,
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
struct Marker {
    when: Condition,
    /// The line of `when` in the adapter's file.
    line: Option<u64>,
    text: Option<Field>,
    code: Option<Field>,
    needs: Vec<String>,
    sub_status: Option<waybill_schemas::SubStatus>,
}

/// A marker that decided.
pub(crate) struct Decision {
    /// Its key in the adapter's file.
    pub(crate) key: &'static str,
    /// Its line there.
    pub(crate) line: Option<u64>,
    /// What of it holds, in words.
    pub(crate) because: String,
}

/// What all readers of an adapter share.
pub(crate) struct Shared<'a> {
    pub(crate) zone: Option<&'a str>,
    pub(crate) languages: &'a [String],
}

/// Why what was extracted cannot be used.
pub(crate) type TooMuch = String;

impl Reader {
    pub(crate) fn compile(spec: &ReaderSpec, shared: &Shared<'_>) -> Result<Self, Faults> {
        let shape = spec.shape;
        let mut faults = Faults::default();
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
            let problem = format!("reader `{}` reads nothing; give it tables or markers", spec.name);
            faults.add(Fault::new(&spec.name, problem));
        }
        let markers = markers.map(|specs| faults.keep_all(specs.iter().map(|spec| Marker::compile(shape, spec))));
        let made = (
            faults.keep(Entry::compile(spec.entry())),
            faults.keep(compile_tables(shape, &spec.tables, &spec.times, shared)),
            faults.keep(Facts::compile(shape, &spec.facts, shared)),
            faults.keep_all(spec.also.iter().map(|part| Part::compile(part, &spec.times, shared))),
        );
        let (Some(entry), Some(tables), Some(facts), Some(also)) = made else { return Err(faults) };
        if !faults.is_empty() {
            return Err(faults);
        }
        let [not_found, no_scan, blocked, unreadable, needs_data, throttled, down] =
            markers.map(Option::unwrap_or_default);
        Ok(Self {
            name: spec.name.clone(),
            entry,
            order: spec.order,
            tables,
            distinct: spec.distinct,
            facts,
            not_found,
            no_scan,
            blocked,
            unreadable,
            needs_data,
            throttled,
            down,
            also,
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

    /// The marker that made an answer without events what it is, with its key in the adapter's file.
    pub(crate) fn decided(&self, place: &Place<'_, '_>, number: Option<&str>, class: OutcomeClass) -> Option<Decision> {
        let scoped = self.entry.scoped(place, number);
        let of_shipment = [
            ("not_found", &self.not_found, OutcomeClass::NotFound),
            ("no_scan", &self.no_scan, OutcomeClass::RegisteredNoScan),
        ];
        let of_any = [
            ("blocked", &self.blocked, OutcomeClass::Blocked),
            ("needs_data", &self.needs_data, OutcomeClass::NeedsData),
            ("throttled", &self.throttled, OutcomeClass::Throttled),
            ("down", &self.down, OutcomeClass::CarrierDown),
            ("unreadable", &self.unreadable, OutcomeClass::Unreadable),
        ];
        // An answer that does not speak of the number is judged whole, and by these alone.
        let asked = scoped.is_some().then_some(of_shipment).into_iter().flatten().chain(of_any);
        let place = scoped.as_ref().unwrap_or(place);
        asked.filter(|(.., of)| *of == class).find_map(|(key, markers, _)| {
            let marker = markers.iter().find(|marker| marker.when.holds(place))?;
            Some(Decision { key, line: marker.line, because: marker.when.holding(place) })
        })
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
    fn compile(spec: &PartSpec, times: &TimesSpec, shared: &Shared<'_>) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let made = (
            faults.keep(Entry::compile(spec.entry())),
            faults.keep(compile_tables(spec.shape, &spec.tables, spec.times.as_ref().unwrap_or(times), shared)),
            faults.keep(Facts::compile(spec.shape, &spec.facts, shared)),
        );
        let (Some(entry), Some(tables), Some(facts)) = made else { return Err(faults) };
        Ok(Self { entry, tables, facts })
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
    fn compile(spec: EntrySpec<'_>) -> Result<Self, Faults> {
        let shape = spec.shape;
        let mut faults = Faults::default();
        let made = (
            faults.keep_all(spec.unwrap.iter().map(Stage::compile)),
            faults.keep(Condition::compile(shape, &spec.accept.value)),
            faults.keep_all(spec.ignore.iter().map(|css| Path::compile(shape, css))),
            faults.keep_optional(spec.scope.map(|scope| Scope::compile(shape, scope))),
        );
        let (Some(unwrap), Some(accept), Some(ignore), Some(scope)) = made else { return Err(faults) };
        Ok(Self { shape, steps: spec.steps.to_vec(), unwrap, accept, line: line_of(spec.accept), ignore, scope })
    }

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
        let shown = |node: &Node<'d>| scope.number.as_ref().and_then(|field| field.read(&at(node)));
        let asked = number.map(canonical);
        let named = candidates.iter().find(|node| shown(node).is_some_and(|text| Some(canonical(&text)) == asked));
        if several {
            return named.map(at);
        }
        let picked = match scope.pick {
            Pick::Last => candidates.last(),
            Pick::Only | Pick::None if asked.is_some() => {
                // One that bears no number answers what was asked; one of another number may or may not.
                let fits = |node: &&Node<'d>| scope.pick == Pick::Only || shown(node).is_none();
                let alone = candidates.first().filter(|node| candidates.len() == 1 && fits(node));
                return named.or(alone).map(at);
            }
            Pick::First | Pick::Only | Pick::None => candidates.first(),
        };
        Some(named.or(picked).map_or_else(|| place.clone(), at))
    }
}

impl Scope {
    fn compile(shape: Shape, spec: &ScopeSpec) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let each = faults.keep(Path::compile(shape, &spec.each));
        let number = faults.keep(Field::compile_optional(shape, spec.number.as_ref()));
        let (Some(each), Some(number)) = (each, number) else { return Err(faults) };
        Ok(Self { each, number, pick: spec.pick, absent: spec.absent })
    }
}

impl Marker {
    fn compile(shape: Shape, spec: &MarkerSpec) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let made = (
            faults.keep(Condition::compile(shape, &spec.when.value)),
            faults.keep(Field::compile_optional(shape, spec.text.as_ref())),
            faults.keep(Field::compile_optional(shape, spec.code.as_ref())),
            faults.keep_optional(spec.sub_status.as_ref().map(StatusSpec::sub_status)),
        );
        let (Some(when), Some(text), Some(code), Some(sub_status)) = made else { return Err(faults) };
        Ok(Self { when, line: line_of(&spec.when), text, code, needs: spec.needs.clone(), sub_status })
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

/// Where a condition stands in the adapter's file, from 1.
fn line_of(written: &Spanned<ConditionSpec>) -> Option<u64> {
    Some(written.defined.line()).filter(|line| *line > 0)
}

/// The nodes whose text is left out.
pub(crate) fn ignored(document: &Node<'_>, paths: &[Path]) -> Ignored {
    let found = paths.iter().flat_map(|path| document.select(path));
    found.filter_map(|node| if let Node::Html(element) = node { Some(element.id()) } else { None }).collect()
}
