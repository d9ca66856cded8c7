//! POL-1 as arithmetic: of all windows between two arrivals, the fullest.
//!
//! Law: for every pair of arrivals i ≤ j, (j − i + 1) ≤ rate · (tⱼ − tᵢ) + burst. A window that begins or ends between
//! arrivals holds no more requests and allows more, so the pairs are all there is to check.
//!
//! Tolerance: none. Arrivals are taken at the server's door, so what the network and the scheduler add between departure
//! and arrival counts against the sender: delays that vary by at most D turn departures that conform to a bucket of
//! `burst` into arrivals that conform to `burst + rate · D`. A sender that is to hold the law here must therefore keep its
//! own bucket smaller by `rate · D` (for D = 250 ms at 20 requests/s: 5), or, where the burst is smaller than that, its
//! spacing wider by the rest. `excess` says in requests how far beyond the law the worst window is.

use serde::Serialize;

/// The fullest window found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FullestWindow {
    /// Arrivals looked at.
    pub requests: u64,
    /// Arrivals that ended a window over the allowance.
    pub over: u64,
    /// Arrivals within the fullest window.
    pub count: u64,
    /// What that window allows: rate · window + burst.
    pub allowed: f64,
    /// count / allowed; above 1 the law is broken.
    pub ratio: f64,
    /// Length of that window in microseconds.
    pub window_us: i64,
    /// Where that window begins, wall time in microseconds.
    pub begins_us: i64,
    /// Largest count − allowed over all windows, in requests; at most 0 when the law holds.
    pub excess: f64,
}

impl FullestWindow {
    /// Nothing arrived.
    const EMPTY: Self = Self {
        requests: 0,
        over: 0,
        count: 0,
        allowed: 0.0,
        ratio: 0.0,
        window_us: 0,
        begins_us: 0,
        excess: f64::NEG_INFINITY,
    };

    /// Whether the budget was held.
    pub fn held(&self) -> bool {
        self.over == 0
    }

    /// The ratio in percent.
    pub fn percent(&self) -> f64 {
        self.ratio * 100.0
    }
}

/// Rounding of sums of rates must not make a request of what is none.
const ROUNDING: f64 = 1e-6;

/// Finds the fullest window of arrivals (microseconds, any order) under `rate` requests per second and `burst`.
///
/// The most overdrawn window is found in one pass: count − allowed = (j + 1 − rate·tⱼ) + (rate·tᵢ − i) − burst, whose
/// second part is a running maximum. The largest *ratio* is the λ at which max(count − λ · allowed) is zero; Newton's
/// iteration on it (Dinkelbach) ends after a handful of passes and is exact, because each λ is a real window's ratio.
pub fn fullest_window(arrivals_us: &[i64], rate: f64, burst: u32) -> FullestWindow {
    let mut arrivals = arrivals_us.to_vec();
    arrivals.sort_unstable();
    let Some(first) = arrivals.first().copied() else { return FullestWindow::EMPTY };
    let seconds: Vec<f64> = arrivals.iter().map(|us| us.saturating_sub(first) as f64 / 1e6).collect();
    let law = Law { seconds: &seconds, rate, burst: f64::from(burst) };

    let (_, excess, over) = law.worst(1.0);
    let mut best = (0, 0);
    let mut ratio = law.ratio(best);
    // Each pass raises the ratio to that of another window; the bound only guards against endless rounding.
    for _ in 0..64 {
        let (window, gain, _) = law.worst(ratio);
        let found = law.ratio(window);
        if gain <= 0.0 || found <= ratio {
            break;
        }
        (best, ratio) = (window, found);
    }
    FullestWindow {
        requests: arrivals.len() as u64,
        over,
        count: (best.1 - best.0 + 1) as u64,
        allowed: law.allowed(best),
        ratio,
        window_us: arrivals[best.1] - arrivals[best.0],
        begins_us: arrivals[best.0],
        excess,
    }
}

struct Law<'a> {
    seconds: &'a [f64],
    rate: f64,
    burst: f64,
}

impl Law<'_> {
    fn allowed(&self, (i, j): (usize, usize)) -> f64 {
        self.rate * (self.seconds[j] - self.seconds[i]) + self.burst
    }

    fn ratio(&self, window: (usize, usize)) -> f64 {
        (window.1 - window.0 + 1) as f64 / self.allowed(window)
    }

    /// The window with the largest count − λ · allowed, that figure, and how many arrivals end a window where it is > 0.
    fn worst(&self, lambda: f64) -> ((usize, usize), f64, u64) {
        let rate = lambda * self.rate;
        let mut begin = (0, f64::NEG_INFINITY);
        let mut worst = ((0, 0), f64::NEG_INFINITY);
        let mut over = 0;
        for (j, at) in self.seconds.iter().enumerate() {
            let as_begin = rate * at - j as f64;
            if as_begin > begin.1 {
                begin = (j, as_begin);
            }
            let figure = (j + 1) as f64 - rate * at + begin.1 - lambda * self.burst;
            over += u64::from(figure > ROUNDING);
            if figure > worst.1 {
                worst = ((begin.0, j), figure);
            }
        }
        (worst.0, worst.1, over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn by_hand(arrivals: &[i64], rate: f64, burst: u32) -> (f64, f64) {
        let mut worst = (0.0_f64, f64::NEG_INFINITY);
        for i in 0..arrivals.len() {
            for j in i..arrivals.len() {
                let count = (j - i + 1) as f64;
                let allowed = rate * (arrivals[j] - arrivals[i]) as f64 / 1e6 + f64::from(burst);
                worst = (worst.0.max(count / allowed), worst.1.max(count - allowed));
            }
        }
        worst
    }

    #[test]
    fn pol_1_the_fullest_window_equals_every_pair_tried() {
        for seed in 0..300 {
            let mut dice = Dice::of(seed, "arrivals", &[]);
            let (rate, burst) = (1.0 + dice.fraction() * 30.0, 1 + u32::try_from(dice.below(8)).unwrap_or(0));
            let mut at = 1_700_000_000_000_000;
            let arrivals: Vec<i64> = (0..dice.between(1, 120))
                .map(|_| {
                    at += if dice.chance(0.4) { 0 } else { dice.between(0, 400_000) };
                    at
                })
                .collect();
            let (ratio, excess) = by_hand(&arrivals, rate, burst);
            let found = fullest_window(&arrivals, rate, burst);
            assert!((found.ratio - ratio).abs() < 1e-9, "seed {seed}: {found:?} but {ratio}");
            assert!((found.excess - excess).abs() < 1e-6, "seed {seed}: {found:?} but {excess}");
            assert_eq!(found.held(), excess <= 1e-6, "seed {seed}");
            assert!((found.count as f64 / found.allowed - found.ratio).abs() < 1e-12);
        }
    }

    #[test]
    fn pol_1_a_full_bucket_then_the_rate_is_exactly_full_and_one_more_is_over() {
        let mut arrivals = vec![0; 5];
        arrivals.extend((1..=100).map(|n| n * 100_000));
        let full = fullest_window(&arrivals, 10.0, 5);
        assert!(full.held(), "{full:?}");
        assert!((full.percent() - 100.0).abs() < 1e-6, "{full:?}");
        arrivals.push(100 * 100_000);
        let over = fullest_window(&arrivals, 10.0, 5);
        assert_eq!((over.held(), over.over), (false, 1));
        assert!((over.excess - 1.0).abs() < 1e-6, "{over:?}");
    }

    #[test]
    fn nothing_arrived_is_nothing_over() {
        assert!(fullest_window(&[], 5.0, 1).held());
        assert_eq!(fullest_window(&[7], 5.0, 1).count, 1);
    }
}
