//! The rate limiter (POL-1): GCRA on integer microseconds, and the door, which also knows what is under way.
//!
//! Law: whatever is let out through a [`Door`] reaches the carrier such that every window of length `w` holds at most
//! `rate · w + burst` requests. A request leaves at an instant that we know and arrives at one that we do not, between its
//! departure and its answer; so a request under way is counted as if it arrived *now*, whenever now is, until its answer
//! settles it. Plain GCRA over departures would let two requests arrive closer together than the carrier allows whenever a
//! connection had to be opened first; counting a request as arrived because some time has passed would do the same to a
//! carrier that is slow to take what it was sent. So never more than a burst is under way, and a carrier that answers late
//! is asked less often.
//!
//! Only where no answer can come any more, because the owner died or gave the request up, does time decide:
//! [`ARRIVAL_US`] after it left it has arrived or never will.
//!
//! The state that must survive is one timestamp, the theoretical arrival time; [`Door::after`] tells what it will be at
//! most after a block of requests, so that it can be recorded before the first of them leaves. Nothing here reads a clock.

use waybill_schemas::politeness::Budget;

/// Microseconds in a second.
const SECOND_US: i64 = 1_000_000;
/// How long after its departure (µs) a request may still reach the carrier though its sender has closed the connection or
/// died: what is on the wire and in the receiver's buffers then.
pub const ARRIVAL_US: i64 = 2 * SECOND_US;

/// How fast a budget may be spent. Changes at run time simply by asking with another pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    interval_us: i64,
    burst: i64,
}

impl Pace {
    /// One request every `interval_us` microseconds in the long run, `burst` at once after a pause; both at least 1.
    pub fn new(interval_us: i64, burst: u32) -> Self {
        Self { interval_us: interval_us.clamp(1, 86_400 * SECOND_US), burst: i64::from(burst.max(1)) }
    }

    /// The pace of a budget. The interval is rounded up, so the rate is never exceeded by rounding.
    pub fn of(budget: &Budget) -> Self {
        let interval = SECOND_US as f64 / budget.rate_per_second;
        // A rate that is no positive number gives the slowest pace there is, never an unlimited one.
        let interval_us = if interval.is_finite() && interval > 0.0 { interval.ceil() as i64 } else { i64::MAX };
        Self::new(interval_us, budget.burst)
    }

    /// Microseconds between two requests in the long run.
    pub fn interval_us(self) -> i64 {
        self.interval_us
    }

    /// Requests that may leave at once after a pause.
    pub fn burst(self) -> i64 {
        self.burst
    }

    /// How far ahead of now the theoretical arrival time may be for one more request to pass.
    fn tolerance_us(self) -> i64 {
        self.interval_us.saturating_mul(self.burst - 1)
    }
}

/// GCRA: one timestamp, restorable, that tells the next allowed instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limiter {
    tat_us: i64,
}

impl Limiter {
    /// A limiter with this theoretical arrival time, in microseconds since the Unix epoch.
    pub fn at(tat_us: i64) -> Self {
        Self { tat_us }
    }

    /// Resumes from a record. An instant that no block can have written, such as that of a clock that was wrong, is clamped
    /// to the furthest that one can; a plausible record is never moved earlier.
    pub fn restored(tat_us: i64, pace: Pace, now_us: i64) -> Self {
        // The bucket empty, as much again under way and in the block, a block that waited long for its acknowledgement.
        let bucket = pace.interval_us.saturating_mul(pace.burst);
        let furthest = bucket.saturating_mul(3).saturating_add(pace.interval_us).saturating_add(20 * SECOND_US);
        Self { tat_us: tat_us.min(now_us.saturating_add(furthest)) }
    }

    /// The theoretical arrival time.
    pub fn tat_us(self) -> i64 {
        self.tat_us
    }

    /// The first instant at which one more request may pass.
    pub fn earliest_us(self, pace: Pace) -> i64 {
        self.tat_us.saturating_sub(pace.tolerance_us())
    }

    /// Counts a request that passed at `now_us`.
    pub fn spend(&mut self, pace: Pace, now_us: i64) {
        self.tat_us = self.tat_us.max(now_us).saturating_add(pace.interval_us);
    }
}

/// A request that has left and is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Departure(u64);

/// Whether one more request may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Leave {
    /// Now.
    Now,
    /// Not before this instant (µs); ask again then, or when a request under way has been answered.
    At(i64),
    /// Not before one of those under way has been answered or given up: each place in the burst may be arriving now.
    AfterAnswer,
}

/// A request between its departure and the instant by which it has surely arrived.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    departure: Departure,
    left_us: i64,
    /// Nobody waits for its answer any more.
    given_up: bool,
}

impl UnderWay {
    /// When time settles it, if time may.
    fn arrived_us(&self) -> Option<i64> {
        self.given_up.then(|| self.left_us.saturating_add(ARRIVAL_US))
    }
}

/// The limiter at the carrier's door: GCRA that counts requests under way as arriving now.
#[derive(Debug, Clone, Default)]
pub struct Door {
    settled: Limiter,
    /// In the order of departure.
    under_way: Vec<UnderWay>,
    next_id: u64,
}

impl Door {
    /// A door with nothing under way.
    pub fn new(limiter: Limiter) -> Self {
        Self { settled: limiter, ..Self::default() }
    }

    /// Requests that left and may not have arrived yet.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Whether one more request may leave at `now_us`.
    pub fn may_leave(&mut self, pace: Pace, now_us: i64) -> Leave {
        self.settle_given_up(pace, now_us);
        let waiting = self.waiting();
        if waiting >= pace.burst {
            return self.under_way.iter().find_map(UnderWay::arrived_us).map_or(Leave::AfterAnswer, Leave::At);
        }
        let reserve = pace.interval_us.saturating_mul(pace.burst - 1 - waiting);
        let earliest = self.settled.tat_us.saturating_sub(reserve);
        if earliest <= now_us { Leave::Now } else { Leave::At(earliest) }
    }

    /// Counts a request that leaves at `now_us`.
    pub fn depart(&mut self, now_us: i64) -> Departure {
        let departure = Departure(self.next_id);
        self.next_id += 1;
        self.under_way.push(UnderWay { departure, left_us: now_us, given_up: false });
        departure
    }

    /// The carrier has answered at `now_us`: the request has arrived by now at the latest.
    pub fn settle(&mut self, departure: Departure, pace: Pace, now_us: i64) {
        self.settle_given_up(pace, now_us);
        let before = self.under_way.len();
        self.under_way.retain(|one| one.departure != departure);
        if self.under_way.len() < before {
            self.settled.spend(pace, now_us);
        }
    }

    /// The connection is gone, or nobody waits any more: the request has arrived [`ARRIVAL_US`] after it left, or never will.
    pub fn give_up(&mut self, departure: Departure, pace: Pace, now_us: i64) {
        self.settle_given_up(pace, now_us);
        let Some(one) = self.under_way.iter_mut().find(|one| one.departure == departure) else { return };
        if one.left_us.saturating_add(ARRIVAL_US) <= now_us {
            self.settle(departure, pace, now_us);
        } else {
            one.given_up = true;
        }
    }

    /// The theoretical arrival time as it will be at most, once `requests` more have left before `until_us` and everything
    /// under way has arrived: what is recorded before the first of them leaves.
    pub fn after(&self, pace: Pace, requests: u32, until_us: i64) -> Limiter {
        let arrived = until_us.saturating_add(ARRIVAL_US);
        let count = self.waiting().saturating_add(i64::from(requests));
        Limiter::at(self.settled.tat_us.max(arrived).saturating_add(pace.interval_us.saturating_mul(count)))
    }

    /// When the `count`-th further request (from 1) could leave, if nothing else happens and everything under way arrives
    /// now; for estimates.
    pub fn forecast_us(&self, pace: Pace, count: u32, now_us: i64) -> i64 {
        let ahead = self.waiting().saturating_add(i64::from(count.max(1)) - 1);
        let base = self.settled.tat_us.max(now_us).saturating_add(pace.interval_us.saturating_mul(ahead));
        base.saturating_sub(pace.tolerance_us()).max(now_us)
    }

    fn waiting(&self) -> i64 {
        i64::try_from(self.under_way.len()).unwrap_or(i64::MAX)
    }

    fn settle_given_up(&mut self, pace: Pace, now_us: i64) {
        let settled = &mut self.settled;
        self.under_way.retain(|one| match one.arrived_us() {
            Some(arrived) if arrived <= now_us => {
                settled.spend(pace, arrived);
                false
            }
            _ => true,
        });
    }
}

#[cfg(test)]
#[path = "limiter_tests.rs"]
mod tests;
