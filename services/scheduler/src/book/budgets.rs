//! Carriers and budgets of a partition: lanes of waiting numbers, credit, load and stretch.

use waybill_politeness::{
    credit::{Allowance, Credit, Guest, sustained_rate},
    interval,
};
use waybill_schemas::{BudgetName, CarrierSlug, WallMs, drift::DriftRules, politeness::SchedulerBudgetRecord};

use super::{Book, Now};
use crate::{
    entry::Entry,
    terms::{CarrierTerms, Switch},
    wheel::DueWheel,
    why::Rule,
};

/// Load is counted in whole pico-requests per millisecond of journey time, so that adding and removing numbers for
/// months leaves no rounding behind.
const PICO: u64 = 1_000_000_000_000;

/// A carrier and its two lanes.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) slug: CarrierSlug,
    pub(super) budget: usize,
    pub(super) terms: CarrierTerms,
    pub(super) drift: DriftRules,
    /// See [`crate::Carriers::revision`].
    pub(super) revision: u64,
    /// When numbers are woken because of it, the next one last.
    pub(super) wakes: Vec<WallMs>,
    residents: DueWheel,
    visitors: DueWheel,
}

impl Carrier {
    pub(super) fn new(slug: CarrierSlug, budget: usize, terms: CarrierTerms) -> Self {
        let (residents, visitors) = (DueWheel::default(), DueWheel::default());
        Self { slug, budget, terms, drift: DriftRules::default(), revision: 0, wakes: Vec::new(), residents, visitors }
    }

    pub(super) fn lane(&self, guest: Guest) -> &DueWheel {
        match guest {
            Guest::Resident => &self.residents,
            Guest::Visitor => &self.visitors,
        }
    }

    pub(super) fn lane_mut(&mut self, guest: Guest) -> &mut DueWheel {
        match guest {
            Guest::Resident => &mut self.residents,
            Guest::Visitor => &mut self.visitors,
        }
    }

    fn lanes(&self) -> [&DueWheel; 2] {
        [&self.residents, &self.visitors]
    }

    /// What a number adds to the load: requests over its unstretched wait. Parked and stopped ones add nothing.
    fn load(&self, entry: &Entry) -> u64 {
        if entry.stop.is_some() || entry.rule == Rule::NeedsData {
            return 0;
        }
        let interval = if entry.interval_ms > 0 { entry.interval_ms } else { interval::first_interval_ms() };
        let wait = u64::try_from(interval.min(self.terms.most_ms()).max(self.terms.least_ms())).unwrap_or(1).max(1);
        PICO / 1_000 * self.terms.cost().share() / wait
    }
}

/// A budget of this partition.
#[derive(Debug)]
pub(super) struct BudgetBook {
    pub(super) name: BudgetName,
    pub(super) credit: Credit,
    pub(super) allowance: Allowance,
    pub(super) carriers: Vec<usize>,
    pub(super) stretch: f64,
    pub(super) under_way: u64,
    pub(super) spent: u64,
    active: u64,
    stopped: u64,
    load_pico: u64,
}

impl BudgetBook {
    pub(super) fn new(name: BudgetName, allowance: Allowance) -> Self {
        Self {
            name,
            credit: Credit::default(),
            allowance,
            carriers: Vec::new(),
            stretch: 1.0,
            under_way: 0,
            spent: 0,
            active: 0,
            stopped: 0,
            load_pico: 0,
        }
    }

    pub(super) fn count_in(&mut self, carrier: &Carrier, entry: &Entry) {
        self.load_pico = self.load_pico.saturating_add(carrier.load(entry));
        *if entry.stop.is_some() { &mut self.stopped } else { &mut self.active } += 1;
    }

    pub(super) fn count_out(&mut self, carrier: &Carrier, entry: &Entry) {
        self.load_pico = self.load_pico.saturating_sub(carrier.load(entry));
        let count = if entry.stop.is_some() { &mut self.stopped } else { &mut self.active };
        *count = count.saturating_sub(1);
    }
}

/// What a budget shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BudgetView {
    pub(crate) name: BudgetName,
    pub(crate) record: SchedulerBudgetRecord,
    /// Wall time that the oldest due number has waited, in ms.
    pub(crate) lag_ms: i64,
    /// Requests per second that it sustains.
    pub(crate) rate: f64,
    /// Requests that left for the carrier since this owner came.
    pub(crate) spent: u64,
}

impl Book {
    /// The carrier's place in this book; it is added when it is new.
    pub(super) fn carrier_id(&mut self, slug: &CarrierSlug, terms: CarrierTerms) -> u16 {
        if let Some(known) = self.carrier_by_slug.get(slug) {
            return *known;
        }
        let name = self.layout.budget_of(slug);
        let budget = self.budgets.iter().position(|budget| budget.name == name).unwrap_or_else(|| {
            let allowance = Allowance { rate: sustained_rate(&terms.budget), window_s: self.rules.window_s };
            self.budgets.push(BudgetBook::new(name, allowance));
            self.budgets.len() - 1
        });
        let index = self.carriers.len();
        let (drift, revision) = (self.terms.drift(slug), self.terms.revision(slug));
        self.carriers.push(Carrier { drift, revision, ..Carrier::new(slug.clone(), budget, terms) });
        self.budgets[budget].carriers.push(index);
        let id = u16::try_from(index).unwrap_or(u16::MAX);
        self.carrier_by_slug.insert(slug.clone(), id);
        id
    }

    /// Takes over changed terms. Loads are counted anew where a cost or a least interval changed.
    pub(crate) fn refresh_terms(&mut self) {
        let mut changed = false;
        for carrier in &mut self.carriers {
            let terms = self.terms.policy(&carrier.slug).unwrap_or_else(CarrierTerms::unknown);
            if terms != carrier.terms {
                changed = true;
                carrier.terms = terms;
            }
        }
        if !changed {
            return;
        }
        for budget in &mut self.budgets {
            // Of figures that disagree the slowest holds: politeness errs on the quiet side.
            let rates = budget.carriers.iter().map(|index| &self.carriers[*index].terms);
            let on = rates.clone().filter(|terms| terms.switch == Switch::On);
            let slowest = on.map(|terms| sustained_rate(&terms.budget)).fold(f64::INFINITY, f64::min);
            if slowest.is_finite() {
                budget.allowance.rate = slowest;
            }
            budget.load_pico = 0;
        }
        for entry in self.entries.iter().flatten() {
            let carrier = &self.carriers[usize::from(entry.carrier)];
            let budget = &mut self.budgets[carrier.budget];
            budget.load_pico = budget.load_pico.saturating_add(carrier.load(entry));
        }
    }

    /// Moves what has become due into the queues and fits the stretch to the load: load is in journey time, the rate in
    /// wall time, and journey time may run faster.
    pub(crate) fn tick(&mut self, now: &Now) {
        for carrier in &mut self.carriers {
            carrier.residents.advance(now.wall);
            carrier.visitors.advance(now.wall);
        }
        self.controls.advance(now.wall);
        let slope = now.slope();
        for budget in &mut self.budgets {
            let load_per_second = budget.load_pico as f64 / PICO as f64 * 1_000.0 * slope;
            budget.stretch = interval::stretch_ratio(load_per_second, budget.allowance.rate);
        }
    }

    /// What each budget shows now.
    pub(crate) fn views(&self, now: &Now) -> Vec<BudgetView> {
        self.budgets.iter().map(|budget| self.view(budget, now)).collect()
    }

    fn view(&self, budget: &BudgetBook, now: &Now) -> BudgetView {
        let lanes = || budget.carriers.iter().flat_map(|index| self.carriers[*index].lanes());
        let oldest: Option<(WallMs, u32)> = lanes().filter_map(DueWheel::oldest_due).min();
        let queue: usize = lanes().map(DueWheel::due_len).sum();
        BudgetView {
            name: budget.name.clone(),
            record: SchedulerBudgetRecord {
                active: budget.active,
                stopped: budget.stopped,
                queue: queue as u64,
                in_flight: budget.under_way,
                oldest_due: oldest.map(|(at, _)| now.scale.journey_at(at)),
                stretch_ratio: (budget.stretch * 1_000.0).round() / 1_000.0,
                blocked_until: budget.credit.blocked_until(now.wall),
                at: now.wall,
                carriers: budget
                    .carriers
                    .iter()
                    .map(|index| &self.carriers[*index].slug)
                    .filter_map(|slug| Some((slug.clone(), self.health_of(slug)?)))
                    .collect(),
            },
            lag_ms: oldest.map_or(0, |(at, _)| now.wall.since_ms(at).max(0)),
            rate: budget.allowance.rate,
            spent: budget.spent,
        }
    }
}
