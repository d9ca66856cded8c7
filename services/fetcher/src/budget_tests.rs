#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use waybill_schemas::politeness::DailyQuota;

use super::*;

const T0: i64 = 1_700_000_000_000_000;

fn terms(rate: f64, burst: u32, quota: Option<u32>) -> Terms {
    let daily_quota = quota.map(|requests| DailyQuota {
        requests,
        resets_at: "00:00".to_owned(),
        zone: "UTC".to_owned(),
        spread: false,
        extra: Default::default(),
    });
    let budget = Budget { rate_per_second: rate, burst, concurrency: 4, daily_quota, ..Budget::default() };
    Terms::of(budget, None).unwrap()
}

/// Sends as many as may leave at `now`, recording blocks; answers what left and the last acknowledged record.
fn send_all(state: &mut BudgetState, terms: &Terms, now: i64, record: &mut FetcherBudgetRecord) -> u32 {
    let mut sent = 0;
    loop {
        match state.verdict(terms, now) {
            Verdict::Leave => {
                let departure = state.depart(now);
                state.settle(departure, terms.pace, now);
                sent += 1;
            }
            Verdict::Record => {
                let plan = state.plan(terms, now);
                *record = plan.record.clone();
                state.begin_block(plan, now);
            }
            Verdict::Wait(_) | Verdict::AfterAnswer | Verdict::Closed(_) => return sent,
        }
    }
}

#[test]
fn pol_1_nothing_leaves_before_a_record_covers_it() {
    let terms = terms(2.0, 3, None);
    let mut state = BudgetState::restored(None, &terms, T0);
    assert_eq!(state.verdict(&terms, T0), Verdict::Record);
    let plan = state.plan(&terms, T0);
    assert!(plan.requests >= 1);
    assert!(plan.record.tat_us > T0);
    // Planned is not recorded.
    assert_eq!(state.verdict(&terms, T0), Verdict::Record);
    state.begin_block(plan, T0);
    assert_eq!(state.verdict(&terms, T0), Verdict::Leave);
    // A block is over after a second, used or not.
    assert_eq!(state.verdict(&terms, T0 + 1_000_000), Verdict::Record);
}

#[test]
fn pol_2_the_count_of_the_day_tells_when_more_left_than_allowed() {
    let terms = terms(50.0, 10, Some(3));
    let mut record = FetcherBudgetRecord::default();
    let mut state = BudgetState::restored(None, &terms, T0);
    let sent: u32 = (0..10).map(|second| send_all(&mut state, &terms, T0 + second * 1_000_000, &mut record)).sum();
    assert_eq!(sent, 3);
    assert!(!state.is_over_quota(&terms));
    // Nothing but a mistake in this program lets another one leave.
    let _ = state.depart(T0 + 20_000_000);
    assert!(state.is_over_quota(&terms));
}

#[test]
fn a_record_slower_than_its_block_makes_longer_blocks_instead_of_none() {
    let terms = terms(2.0, 3, None);
    let mut state = BudgetState::restored(None, &terms, T0);
    let mut now = T0;
    for _ in 0..4 {
        if state.verdict(&terms, now) == Verdict::Leave {
            return;
        }
        let plan = state.plan(&terms, now);
        now += 3_000_000;
        state.begin_block(plan, now);
    }
    assert_eq!(state.verdict(&terms, now), Verdict::Leave);
}

#[test]
fn pol_2_a_quota_holds_through_crashes_at_any_moment() {
    let terms = terms(100.0, 10, Some(37));
    for crash_after in 0..40 {
        let mut record = FetcherBudgetRecord::default();
        let mut state = BudgetState::restored(None, &terms, T0);
        let (mut now, mut sent) = (T0, 0);
        for round in 0..200 {
            sent += send_all(&mut state, &terms, now, &mut record);
            now += 50_000;
            if round % 7 == crash_after % 7 {
                state = BudgetState::restored(Some(record.clone()), &terms, now);
            }
        }
        assert!(sent <= 37, "{sent} requests of 37 left");
        let closed = state.closed(&terms, now);
        assert!(matches!(closed, Some(Closed::Until(_, BlockReason::Quota))), "{closed:?}");
    }
}

#[test]
fn pol_2_a_living_owner_forfeits_nothing() {
    let terms = terms(1.0, 1, Some(100));
    let mut record = FetcherBudgetRecord::default();
    let mut state = BudgetState::restored(None, &terms, T0);
    let mut sent = 0;
    for second in 0..200 {
        sent += send_all(&mut state, &terms, T0 + second * 1_500_000, &mut record);
    }
    assert_eq!(sent, 100);
}

#[test]
fn a_record_brings_back_blocks_and_later_fields() {
    let terms = terms(1.0, 1, None);
    let mut state = BudgetState::restored(None, &terms, T0);
    assert!(state.signal(Signal::Throttled(Some(wall(T0 + 60_000_000))), T0));
    let mut record = state.record(&terms, T0);
    record.extra.insert("later".to_owned(), 1.into());
    let mut next = BudgetState::restored(Some(record), &terms, T0);
    assert!(matches!(
        next.verdict(&terms, T0 + 59_000_000),
        Verdict::Closed(Closed::Until(_, BlockReason::RetryAfter))
    ));
    assert_eq!(next.verdict(&terms, T0 + 60_000_000), Verdict::Record);
    assert!(next.record(&terms, T0).extra.contains_key("later"));
}
