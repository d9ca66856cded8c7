//! Several numbers in the same requests, where a carrier takes that: which of those that wait go together.
//!
//! Nothing waits for company: a look-up whose turn has come takes along what waits already. One request of the budget is
//! spent for all (POL-1), each number keeps its own attempt and gets its own result (SCH-2, FET-1).

use std::collections::VecDeque;

use waybill_runtime::poison::Gate;
use waybill_schemas::{CarrierSlug, WallMs, fetch::FetchRequest};

use super::{Fate, Worker, task::Prepared};
use crate::choose::Chosen;

/// For how long numbers are asked one by one after an answer to several told nothing of any of them, in ms.
const ONE_BY_ONE_MS: i64 = 600_000;

/// Carriers whose numbers are asked one by one for a while: one number that the carrier cannot bear spoils the answer for
/// all that stand beside it.
#[derive(Debug, Default)]
pub(super) struct OneByOne(Vec<(CarrierSlug, WallMs)>);

impl OneByOne {
    pub(super) fn note(&mut self, carrier: CarrierSlug, now: WallMs) {
        self.0.retain(|(known, until)| *known != carrier && now < *until);
        self.0.push((carrier, now.plus_ms(ONE_BY_ONE_MS)));
    }

    fn holds(&self, carrier: &CarrierSlug, now: WallMs) -> bool {
        self.0.iter().any(|(known, until)| known == carrier && now < *until)
    }
}

/// Whether two requests may be answered together. What is known of a number that may be anybody's is never kept, so it
/// never shares an answer with others.
fn go_together(one: &FetchRequest, other: &FetchRequest) -> bool {
    one.kind == other.kind && one.carrier == other.carrier && one.params == other.params && one.number != other.number
}

/// Requests that those need that wait ahead, counted as they will be asked.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    requests: u32,
    /// What begins a look-up that has room for others, and for how many.
    open: Vec<(FetchRequest, usize)>,
}

impl Ahead {
    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// One more that waits: its look-up needs `requests`, and may ask for `most` numbers.
    pub(super) fn add(&mut self, request: &FetchRequest, requests: u32, most: usize) {
        if most > 1 {
            if let Some((_, room)) = self.open.iter_mut().find(|(first, room)| *room > 0 && go_together(first, request))
            {
                *room -= 1;
                return;
            }
            self.open.retain(|(_, room)| *room > 0);
            self.open.push((request.clone(), most - 1));
        }
        self.requests = self.requests.saturating_add(requests);
    }
}

impl Worker {
    /// How many numbers of a carrier may go together now.
    pub(super) fn most_numbers(&self, carrier: &CarrierSlug) -> usize {
        if self.one_by_one.holds(carrier, self.tools.clocks.wall()) { 1 } else { usize::MAX }
    }

    /// The look-up whose turn has come, with those that wait and may go with it.
    pub(super) fn with_companions(&mut self, first: Prepared, chosen: &Chosen) -> Vec<Prepared> {
        let most = chosen.most_numbers().min(self.most_numbers(&first.0.request.carrier));
        let mut jobs = vec![first];
        // An adapter that is on trial after a panic is tried on one.
        if most < 2 || jobs.iter().any(|(first, _)| first.alone) || self.poison.gate(&self.budget) != Gate::Open {
            return jobs;
        }
        let mut rest = VecDeque::with_capacity(self.queue.len());
        for job in std::mem::take(&mut self.queue) {
            let fits = jobs.len() < most
                && !job.alone
                && jobs.iter().all(|(other, _)| go_together(&other.request, &job.request));
            match if fits { self.fate(&job, 0) } else { Fate::Wait } {
                Fate::Start(prepared) if prepared.0.shares_requests_with(chosen) => jobs.push((job, prepared.1)),
                _ => rest.push_back(job),
            }
        }
        self.queue = rest;
        jobs
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn request(number: &str, kind: &str, params: serde_json::Value) -> FetchRequest {
        serde_json::from_value(serde_json::json!({
            "kind": kind, "carrier": "acme", "number": number, "instance": 1, "ref": null, "params": params,
            "registered_at": "2026-01-01T00:00:00Z", "attempt": 1, "expires_at": "2026-01-01T00:01:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn only_numbers_with_the_same_parameters_and_of_the_same_kind_go_together() {
        let none = serde_json::json!({});
        let first = request("ACME0001", "poll", none.clone());
        assert!(go_together(&first, &request("ACME0002", "poll", none.clone())));
        assert!(!go_together(&first, &request("ACME0001", "poll", none.clone())), "a number is asked for once");
        assert!(!go_together(&first, &request("ACME0002", "probe", none)));
        assert!(!go_together(&first, &request("ACME0002", "poll", serde_json::json!({"postal_code": "1010"}))));
    }

    #[test]
    fn pol_1_what_waits_is_counted_in_requests_not_in_numbers() {
        let mut ahead = Ahead::default();
        for index in 0..7 {
            ahead.add(&request(&format!("ACME{index:04}"), "poll", serde_json::json!({})), 2, 3);
        }
        assert_eq!(ahead.requests(), 6, "three look-ups of two steps");
        ahead.add(&request("ACME0009", "probe", serde_json::json!({})), 2, 1);
        assert_eq!(ahead.requests(), 8);
    }

    #[test]
    fn a_carrier_is_asked_for_several_again_after_a_while() {
        let (carrier, now) = ("acme".parse::<CarrierSlug>().unwrap(), WallMs::new(1_000));
        let mut known = OneByOne::default();
        known.note(carrier.clone(), now);
        assert!(known.holds(&carrier, now.plus_ms(ONE_BY_ONE_MS - 1)));
        assert!(!known.holds(&carrier, now.plus_ms(ONE_BY_ONE_MS)));
    }
}
