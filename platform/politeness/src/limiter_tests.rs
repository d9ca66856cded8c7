#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, FakeRelativeClock, Reference},
};
use proptest::prelude::*;

use super::*;

const T0: i64 = 1_700_000_000_000_000;

/// The most requests in any window, as a share of what POL-1 allows there; above 1 the law is broken. `arrivals` in µs.
fn fullest_window(mut arrivals: Vec<i64>, pace: Pace) -> f64 {
    arrivals.sort_unstable();
    let mut fullest: f64 = 0.0;
    for (first, start) in arrivals.iter().enumerate() {
        for (last, end) in arrivals.iter().enumerate().skip(first) {
            let allowed = (end - start) as f64 / pace.interval_us() as f64 + pace.burst() as f64;
            fullest = fullest.max((last - first + 1) as f64 / allowed);
        }
    }
    fullest
}

proptest! {
    /// The oracle: another implementation of GCRA decides the same about the same instants.
    #[test]
    fn decides_as_governor_does(
        interval_ms in 1_i64..2_000,
        burst in 1_u32..20,
        gaps_ms in prop::collection::vec(0_u64..3_000, 1..200),
    ) {
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(Duration::from_millis(interval_ms.unsigned_abs())).unwrap()
            .allow_burst(NonZeroU32::new(burst).unwrap());
        let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
        let start = clock.now();
        let pace = Pace::new(interval_ms * 1_000, burst);
        let mut limiter = Limiter::default();
        for gap in gaps_ms {
            clock.advance(Duration::from_millis(gap));
            let passed: Duration = clock.now().duration_since(start).into();
            let now = T0 + i64::try_from(passed.as_micros()).unwrap();
            let ours = limiter.earliest_us(pace) <= now;
            prop_assert_eq!(ours, oracle.check().is_ok());
            if ours {
                limiter.spend(pace, now);
            }
        }
    }

    /// The law at the door: requests arrive whenever they like until they are answered, answers come in any order, some are
    /// given up. While one owner lives, a carrier may notice a request as late as it likes. With crashes it notices it
    /// within [`ARRIVAL_US`], for nothing else bounds the dead one's requests: the new owner resumes from the record alone,
    /// and the old one, as a zombie, sends what is left of its block.
    #[test]
    fn pol_1_no_window_at_the_door_is_overfull(
        interval_us in 1_000_i64..3_000_000,
        burst in 1_u32..8,
        crashes in any::<bool>(),
        steps in prop::collection::vec((0_u8..12, 0_i64..6_000_000, 0_i64..1_001), 1..160),
    ) {
        let pace = Pace::new(interval_us, burst);
        let mut now = T0;
        let mut door = Door::default();
        let (mut block_left, mut block_until) = (0_u32, now);
        let mut record = Limiter::default();
        let mut under_way: Vec<(Departure, i64)> = Vec::new();
        let mut arrivals: Vec<i64> = Vec::new();
        for (what, gap, share) in steps {
            now += if what > 8 { gap } else { gap / 40 };
            match what {
                // A crash: the new owner knows the record and nothing else.
                0 if crashes => {
                    arrivals.extend(under_way.drain(..).map(|(_, left)| left + ARRIVAL_US * share / 1_000));
                    // The zombie goes on through its own door until its block is over; nothing answers it.
                    let mut later = now;
                    while block_left > 0 && later < block_until {
                        match door.may_leave(pace, later) {
                            Leave::Now => {
                                let _ = door.depart(later);
                                block_left -= 1;
                                arrivals.push(later + ARRIVAL_US * share / 1_000);
                            }
                            Leave::At(next) => later = next,
                            Leave::AfterAnswer => break,
                        }
                    }
                    door = Door::new(Limiter::restored(record.tat_us(), pace, now));
                    (block_left, block_until) = (0, now);
                }
                1..=3 if !under_way.is_empty() => {
                    let index = usize::try_from(share).unwrap() % under_way.len();
                    let (departure, left) = under_way.remove(index);
                    let latest = if crashes { now.min(left + ARRIVAL_US) } else { now };
                    arrivals.push(left + (latest - left) * share / 1_000);
                    door.settle(departure, pace, now);
                }
                // Given up, soon or late.
                4 if !under_way.is_empty() => {
                    let index = usize::try_from(share).unwrap() % under_way.len();
                    let (departure, left) = under_way.remove(index);
                    let latest = if crashes { left + ARRIVAL_US } else { now.max(left + ARRIVAL_US) };
                    arrivals.push(left + (latest - left) * share / 1_000);
                    door.give_up(departure, pace, now);
                }
                // As many requests as may leave.
                _ => while door.may_leave(pace, now) == Leave::Now {
                    if block_left == 0 || now >= block_until {
                        block_left = u32::try_from(1_000_000 / interval_us).unwrap().clamp(1, 50);
                        block_until = now + 1_000_000;
                        record = door.after(pace, block_left, block_until);
                    }
                    block_left -= 1;
                    under_way.push((door.depart(now), now));
                    prop_assert!(under_way.len() <= usize::try_from(burst).unwrap(), "more than a burst is under way");
                },
            }
        }
        // Whoever is still under way arrives together at the end.
        arrivals.extend(under_way.drain(..).map(|(_, left)| if crashes { now.min(left + ARRIVAL_US) } else { now }));
        let fullest = fullest_window(arrivals, pace);
        prop_assert!(fullest <= 1.0 + 1e-9, "fullest window {:.1} %", fullest * 100.0);
    }

    /// The instant that is told is the first one: nothing passes before it, and at it something does.
    #[test]
    fn the_next_allowed_instant_is_exact(
        interval_us in 1_000_i64..3_000_000,
        burst in 1_u32..8,
        gaps in prop::collection::vec((0_i64..1_000_000, any::<bool>()), 1..60),
    ) {
        let pace = Pace::new(interval_us, burst);
        let mut door = Door::default();
        let mut now = T0;
        for (gap, answered) in gaps {
            now += gap;
            let mut asked = 0;
            while let Leave::At(next) = door.may_leave(pace, now) {
                prop_assert!(next > now);
                prop_assert!(door.clone().may_leave(pace, next - 1) != Leave::Now);
                now = next;
                asked += 1;
                prop_assert!(asked < 50, "the door never opens");
            }
            prop_assert_eq!(door.may_leave(pace, now), Leave::Now);
            let departure = door.depart(now);
            if answered { door.settle(departure, pace, now) } else { door.give_up(departure, pace, now) }
        }
    }
}

#[test]
fn a_carrier_that_does_not_answer_is_asked_a_burst_and_no_more() {
    let pace = Pace::new(10_000, 3);
    let mut door = Door::default();
    let departures: Vec<Departure> = (0..3)
        .map(|step| {
            let now = T0 + step * 1_000_000;
            assert_eq!(door.may_leave(pace, now), Leave::Now);
            door.depart(now)
        })
        .collect();
    assert_eq!(door.may_leave(pace, T0 + 3_600_000_000), Leave::AfterAnswer);
    door.settle(departures[1], pace, T0 + 3_600_000_000);
    assert_eq!(door.may_leave(pace, T0 + 3_600_000_000), Leave::At(T0 + 3_600_010_000));
}

#[test]
fn a_wrong_clock_in_a_record_does_not_block_for_ever() {
    let pace = Pace::new(1_000_000, 5);
    let restored = Limiter::restored(T0 + 1_000_000_000_000, pace, T0);
    assert!(restored.earliest_us(pace) <= T0 + 40_000_000);
    let plausible = T0 + 6_000_000;
    assert_eq!(Limiter::restored(plausible, pace, T0).tat_us(), plausible);
}

#[test]
fn the_rate_may_change_at_run_time() {
    let (slow, quick) = (Pace::new(10_000_000, 1), Pace::new(100_000, 1));
    let mut limiter = Limiter::default();
    limiter.spend(slow, T0);
    assert_eq!(limiter.earliest_us(slow), T0 + 10_000_000);
    limiter.spend(quick, T0 + 10_000_000);
    assert_eq!(limiter.earliest_us(quick), T0 + 10_100_000);
}

#[test]
fn a_rate_is_never_rounded_up() {
    let budget = Budget { rate_per_second: 3.0, burst: 2, ..Budget::default() };
    assert_eq!(Pace::of(&budget).interval_us(), 333_334);
    let none = Budget { rate_per_second: 0.0, ..Budget::default() };
    assert_eq!(Pace::of(&none).interval_us(), 86_400_000_000);
}

#[test]
fn forecasts_are_what_the_door_does_when_answers_are_instant() {
    let pace = Pace::new(1_000_000, 3);
    let mut door = Door::default();
    let told: Vec<i64> = (1..=6).map(|count| door.forecast_us(pace, count, T0)).collect();
    let mut now = T0;
    for expected in told {
        while let Leave::At(next) = door.may_leave(pace, now) {
            now = next;
        }
        assert_eq!(now, expected);
        let departure = door.depart(now);
        door.settle(departure, pace, now);
    }
}
