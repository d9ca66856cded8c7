//! The shell around `waybill_politeness::quarantine`: one ward a service, shared by its tasks, that says aloud and counts
//! what it finds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waybill_politeness::quarantine::{Finding, Ward};
pub use waybill_politeness::quarantine::{Gate, PoisonLimits};
use waybill_schemas::WallMs;

use crate::Clocks;

struct Inner {
    ward: Ward,
    stop: Option<String>,
}

/// The quarantines of a service. Cheap to clone.
#[derive(Clone)]
pub struct PoisonWatch {
    service: &'static str,
    clocks: Clocks,
    inner: Arc<Mutex<Inner>>,
}

impl PoisonWatch {
    /// Nothing is quarantined.
    pub fn new(service: &'static str, limits: PoisonLimits, clocks: Clocks) -> Self {
        Self { service, clocks, inner: Arc::new(Mutex::new(Inner { ward: Ward::new(limits), stop: None })) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record of this budget could not be processed.
    pub fn poison(&self, budget: &str) {
        let mut inner = self.inner();
        let finding = inner.ward.poison(budget, self.clocks.wall());
        metrics::counter!("waybill_poison_total", "service" => self.service, "budget" => budget.to_owned())
            .increment(1);
        self.take(&mut inner, budget, finding);
    }

    /// A record was no JSON and named no carrier.
    pub fn envelope(&self) {
        let mut inner = self.inner();
        let finding = inner.ward.envelope(self.clocks.wall());
        metrics::counter!("waybill_poison_total", "service" => self.service, "budget" => "").increment(1);
        self.take(&mut inner, "", finding);
    }

    fn take(&self, inner: &mut Inner, budget: &str, finding: Finding) {
        match finding {
            Finding::Counted => {}
            Finding::Quarantined(until) => {
                tracing::warn!(service = self.service, budget, %until, "poison.quarantined");
                self.show(budget, 1.0);
            }
            Finding::Stop(why) => {
                tracing::error!(service = self.service, why, "poison.must_stop");
                inner.stop.get_or_insert(why);
            }
        }
    }

    fn show(&self, budget: &str, in_force: f64) {
        metrics::gauge!("waybill_quarantined", "service" => self.service, "budget" => budget.to_owned()).set(in_force);
    }

    /// Whether work may be done for a budget now.
    pub fn gate(&self, budget: &str) -> Gate {
        self.inner().ward.gate(budget, self.clocks.wall())
    }

    /// The one look that [`Gate::Probe`] allows begins.
    pub fn begin_probe(&self, budget: &str) {
        self.inner().ward.begin_probe(budget);
    }

    /// The probe ended without having found out.
    pub fn abandon_probe(&self, budget: &str) {
        self.inner().ward.abandon_probe(budget);
    }

    /// Something of the budget was processed well.
    pub fn good(&self, budget: &str) {
        if self.inner().ward.good(budget) {
            tracing::warn!(service = self.service, budget, "poison.quarantine_ended");
            self.show(budget, 0.0);
        }
    }

    /// Why the service must stop, if it must.
    pub fn must_stop(&self) -> Option<String> {
        self.inner().stop.clone()
    }
}

/// One sentence for whoever's request is answered meanwhile.
pub fn quarantined_until(until: WallMs) -> String {
    format!("too many records of this carrier could not be processed; it is left alone until {until}, then tried once")
}
