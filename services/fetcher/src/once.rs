//! One look-up without a log, for `waybill track`: the same steps, the same limiter, its record kept by the caller.

use std::sync::Arc;

use bytes::Bytes;
use waybill_adapters::{Catalog, SourceKind};
use waybill_runtime::Clocks;
use waybill_schemas::{
    BudgetName,
    fetch::{FetchRequest, FetchResult},
    layout::Layout,
    politeness::FetcherBudgetRecord,
};

use crate::{
    admission::Short,
    admission::without_carrier,
    beside::Examples,
    budget::{BudgetState, Closed, Terms},
    config::FetcherConfig,
    error::FetcherError,
    exchange::Exchange,
    look_up::{Ended, Tools},
    memory::FetcherMemory,
    results::{self, Now},
    terms::{Carriers, Fresh, Policies},
    turnstile::{Recorder, Surroundings, Turnstile},
    worker::{asked, closed_meanwhile, one},
};

/// What one look-up stands on.
#[derive(Clone)]
pub struct OnceDeps {
    /// Carriers and their budgets.
    pub layout: Layout,
    /// Both clocks.
    pub clocks: Clocks,
    /// The carriers.
    pub catalog: Arc<Catalog>,
    /// Overrides of operators.
    pub policies: Arc<dyn Policies>,
    /// Configuration.
    pub config: FetcherConfig,
}

struct Alone {
    carriers: Carriers,
    budget: BudgetName,
    terms: Fresh<Option<Terms>>,
}

impl Surroundings for Alone {
    fn terms(&self) -> Option<Terms> {
        self.terms.get(self.carriers.clocks.wall(), || self.carriers.terms(&self.budget).ok())
    }

    fn may_send(&self) -> bool {
        true
    }
}

/// An answer as it came, for whoever wants to look at it. Those of steps that only bring tokens have no body (SEC-1).
#[derive(Debug, Clone)]
pub struct SeenAnswer {
    /// The step that got it.
    pub step: &'static str,
    /// The HTTP status; 0 when the answer was cut off.
    pub status: u16,
    /// The content type; may be empty.
    pub content_type: String,
    /// Headers as they came; those of steps that only bring tokens are left out.
    pub headers: Vec<(String, String)>,
    /// The body after content decoding.
    pub body: Bytes,
}

/// Looks one number up. `record` is what was kept of the carrier's budget, `recorder` keeps the new one: it is asked
/// *before* each block of requests leaves (POL-1), so it must be durable when it answers, and only one process may use it
/// at a time. Waits for the budget until the request expires; then the result is `deferred`.
///
/// # Errors
/// [`FetcherError`] when the configuration or the budget's figures cannot work.
pub async fn look_up_once(
    deps: OnceDeps,
    request: FetchRequest,
    record: Option<FetcherBudgetRecord>,
    recorder: Arc<dyn Recorder>,
) -> Result<(FetchResult, FetcherBudgetRecord), FetcherError> {
    look_up_once_seeing(deps, request, record, recorder).await.map(|(result, record, _)| (result, record))
}

/// The same, with the answers.
///
/// # Errors
/// As [`look_up_once`].
pub async fn look_up_once_seeing(
    deps: OnceDeps,
    request: FetchRequest,
    record: Option<FetcherBudgetRecord>,
    recorder: Arc<dyn Recorder>,
) -> Result<(FetchResult, FetcherBudgetRecord, Vec<SeenAnswer>), FetcherError> {
    deps.config.check()?;
    let clocks = deps.clocks;
    let tools = Tools::new(Exchange::new(&deps.config)?, clocks, Examples::new(deps.config.overlays.clone()));
    let carriers = Carriers {
        catalog: deps.catalog.into(),
        policies: deps.policies,
        layout: Arc::new(deps.layout),
        config: Arc::new(deps.config),
        clocks,
    };
    let budget = carriers.layout.budget_of(&request.carrier);
    let terms =
        carriers.terms(&budget).map_err(|reason| FetcherError::Budget { budget: budget.to_string(), reason })?;
    let state = BudgetState::restored(record, &terms, clocks.wall_us());
    let alone = Arc::new(Alone { carriers: carriers.clone(), budget, terms: Fresh::default() });
    let turnstile = Arc::new(Turnstile::new(state, recorder, alone, clocks));
    let mut seen = Vec::new();
    let result = result(&tools, &carriers, &turnstile, request, &mut seen).await;
    let record = turnstile.snapshot().unwrap_or_default();
    Ok((result, record, seen))
}

async fn result(
    tools: &Tools,
    carriers: &Carriers,
    turnstile: &Arc<Turnstile>,
    request: FetchRequest,
    seen: &mut Vec<SeenAnswer>,
) -> FetchResult {
    let now = Now { wall: tools.clocks.wall(), journey: tools.clocks.journey() };
    let short = |request, short| results::short(request, 0, short, now);
    if let Some(answer) = without_carrier(request.kind, request.expires_at, now.wall) {
        return short(request, answer);
    }
    let chosen = match carriers.choose(&request.carrier) {
        Ok(chosen) => chosen,
        Err(answer) => return short(request, answer),
    };
    let memory = match FetcherMemory::decode(&request.memories.fetcher) {
        Ok(memory) => memory,
        Err(error) => return short(request, Short::deferred(now.wall, &error.to_string())),
    };
    if chosen.source().kind != SourceKind::Builtin
        && let Some(Closed::Until(until, reason)) = turnstile.closed()
    {
        return short(request, Short::deferred(until, crate::admission::closed_because(reason)));
    }
    match one(tools, turnstile, &chosen, &request, &memory).await {
        Ended::Result(found) => {
            if let Some(signal) = found.signal {
                turnstile.signal(signal).await;
            }
            let found = closed_meanwhile(*found, turnstile);
            seen.extend(found.answers.iter().zip(&found.headers).map(|(kept, headers)| SeenAnswer {
                step: kept.step,
                status: kept.status,
                content_type: kept.content_type.clone(),
                headers: if kept.speaks { headers.clone() } else { Vec::new() },
                body: if kept.speaks { kept.body.clone() } else { Bytes::new() },
            }));
            results::of_look_up(request, 0, found, &memory, (&asked(&chosen), 0)).0
        }
        Ended::Abandoned => short(request, Short::deferred(now.wall, "it was not sent")),
    }
}
