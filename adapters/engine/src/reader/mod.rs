//! A compiled reader: recognises its own answers and takes events and facts out of them.

mod facts;
mod table;

use waybill_schemas::{OutcomeClass, event::ShipmentFacts};

use self::{
    facts::Facts,
    table::{Table, compile_tables, take_tables},
};
use crate::{
    answer::{Asked, ReadOutcome},
    error::Fault,
    explain::ExplainedTable,
    field::{Condition, Field, Place},
    journey::PageOrder,
    node::{Ignored, Node, Path},
    spec::{Absent, MarkerSpec, PartSpec, Pick, ReaderSpec, ScopeSpec, Shape, StepName, TimesSpec},
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
struct Marker {
    when: Condition,
    text: Option<Field>,
    code: Option<Field>,
    needs: Vec<String>,
    sub_status: Option<waybill_schemas::SubStatus>,
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

/// The nodes whose text is left out.
pub(crate) fn ignored(document: &Node<'_>, paths: &[Path]) -> Ignored {
    let found = paths.iter().flat_map(|path| document.select(path));
    found.filter_map(|node| if let Node::Html(element) = node { Some(element.id()) } else { None }).collect()
}
