//! Daily quotas (POL-2): a count per quota day, and when there is more.
//!
//! A quota day is named by the civil date of its start in its zone and never goes back: a clock that is set back, or a zone
//! that repeats an hour, goes on counting on the later day. Spending is recorded before requests leave, so what a dead
//! owner had recorded and not spent is forfeited, never spent twice.

use jiff::{
    Timestamp, ToSpan, Zoned,
    civil::{Date, Time},
    tz::TimeZone,
};
use waybill_schemas::{WallMs, politeness::DailyQuota};

/// A quota as it is applied.
#[derive(Debug, Clone)]
pub struct QuotaRule {
    requests: u32,
    resets_at: Time,
    zone: TimeZone,
    spread: bool,
}

/// A quota that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// The zone is not known.
    #[error("daily_quota.zone `{0}` is no IANA time zone such as Europe/Berlin")]
    Zone(String),
    /// The time of day is not readable.
    #[error("daily_quota.resets_at `{0}` is no time of day such as 06:30")]
    ResetsAt(String),
}

impl QuotaRule {
    /// The rule that a budget states.
    ///
    /// # Errors
    /// [`QuotaError`] names the field that cannot be read.
    pub fn of(quota: &DailyQuota) -> Result<Self, QuotaError> {
        let zone = TimeZone::get(&quota.zone).map_err(|_| QuotaError::Zone(quota.zone.clone()))?;
        let resets_at =
            Time::strptime("%H:%M", &quota.resets_at).map_err(|_| QuotaError::ResetsAt(quota.resets_at.clone()))?;
        Ok(Self { requests: quota.requests, resets_at, zone, spread: quota.spread })
    }

    /// Most requests of a day.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// The civil date at whose reset time the quota day of `now` began.
    fn day_at(&self, now: WallMs) -> Option<Date> {
        let local = Timestamp::from_millisecond(now.ms()).ok()?.to_zoned(self.zone.clone());
        let date = local.date();
        // A reset time that the zone skips on that date falls to the next instant that exists.
        match self.start_of(date) {
            Some(start) if start.timestamp() <= local.timestamp() => Some(date),
            _ => date.checked_sub(1.day()).ok(),
        }
    }

    fn start_of(&self, day: Date) -> Option<Zoned> {
        day.to_datetime(self.resets_at).to_zoned(self.zone.clone()).ok()
    }

    fn start_ms(&self, day: Date) -> Option<i64> {
        self.start_of(day).map(|start| start.timestamp().as_millisecond())
    }
}

/// What is left of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Left {
    /// So many requests may be spent now.
    Requests(u32),
    /// None before this instant.
    NoneUntil(WallMs),
}

/// Requests used on a quota day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    day: Option<Date>,
    used: u32,
}

impl Quota {
    /// Resumes from a record: the day as `YYYY-MM-DD` and its count.
    pub fn restored(day: Option<&str>, used: u32) -> Self {
        Self { day: day.and_then(|text| text.parse().ok()), used }
    }

    /// The day for the record.
    pub fn day(&self) -> Option<String> {
        self.day.map(|day| day.to_string())
    }

    /// The count for the record.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// What may be spent at `now`. Turns to the next day when it has come; never back.
    pub fn left(&mut self, rule: &QuotaRule, now: WallMs) -> Left {
        let today = match rule.day_at(now) {
            Some(today) => today,
            // Outside of the calendar nothing is known, so nothing is spent.
            None => return Left::NoneUntil(now.plus_ms(60_000)),
        };
        if self.day.is_none_or(|day| today > day) {
            *self = Self { day: Some(today), used: 0 };
        }
        let day = self.day.unwrap_or(today);
        let start = rule.start_ms(day).unwrap_or(now.ms());
        let tomorrow = day.checked_add(1.day()).ok();
        let end = tomorrow.and_then(|next| rule.start_ms(next)).unwrap_or(start.saturating_add(86_400_000));
        let allowed = if rule.spread { spread(rule.requests, start, end, now.ms()) } else { rule.requests };
        if self.used < allowed {
            return Left::Requests(allowed - self.used);
        }
        if self.used >= rule.requests {
            return Left::NoneUntil(WallMs::new(end));
        }
        // Spread evenly: the next one becomes free when its share of the day has passed.
        let share = i128::from(end - start) * i128::from(self.used) / i128::from(rule.requests.max(1));
        let next = start.saturating_add(i64::try_from(share).unwrap_or(0)).saturating_add(1);
        Left::NoneUntil(WallMs::new(next.max(now.ms() + 1).min(end)))
    }

    /// Counts requests; call [`Self::left`] before, at the same instant.
    pub fn spend(&mut self, requests: u32) {
        self.used = self.used.saturating_add(requests);
    }
}

/// How many of `requests` may have been used when `now` of the day has passed: one at its start, all just before its end.
fn spread(requests: u32, start: i64, end: i64, now: i64) -> u32 {
    let length = (end - start).max(1);
    let passed = (now - start).clamp(0, length);
    let share = i128::from(requests) * i128::from(passed) / i128::from(length);
    u32::try_from(share).unwrap_or(requests).saturating_add(1).min(requests)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    fn rule(requests: u32, resets_at: &str, zone: &str, spread: bool) -> QuotaRule {
        let quota = DailyQuota {
            requests,
            resets_at: resets_at.to_owned(),
            zone: zone.to_owned(),
            spread,
            extra: Default::default(),
        };
        QuotaRule::of(&quota).unwrap()
    }

    fn at(text: &str) -> WallMs {
        text.parse().unwrap()
    }

    #[test]
    fn pol_2_a_day_ends_at_its_reset_time_in_its_zone() {
        let rule = rule(2, "06:30", "Asia/Seoul", false);
        let mut quota = Quota::default();
        // 21:29 UTC is 06:29 in Seoul: still the day before.
        assert_eq!(quota.left(&rule, at("2026-03-01T21:29:59Z")), Left::Requests(2));
        assert_eq!(quota.day().as_deref(), Some("2026-03-01"));
        quota.spend(2);
        assert_eq!(quota.left(&rule, at("2026-03-01T21:29:59Z")), Left::NoneUntil(at("2026-03-01T21:30:00Z")));
        assert_eq!(quota.left(&rule, at("2026-03-01T21:30:00Z")), Left::Requests(2));
        assert_eq!(quota.day().as_deref(), Some("2026-03-02"));
    }

    #[test]
    fn pol_2_a_day_never_goes_back() {
        let rule = rule(3, "00:00", "UTC", false);
        let mut quota = Quota::restored(Some("2026-03-02"), 3);
        // The clock was set back by a day: the later day's count stands until that day is over.
        assert_eq!(quota.left(&rule, at("2026-03-01T12:00:00Z")), Left::NoneUntil(at("2026-03-03T00:00:00Z")));
        assert_eq!(quota.left(&rule, at("2026-03-03T00:00:00Z")), Left::Requests(3));
    }

    #[test]
    fn a_repeated_and_a_skipped_hour_make_no_second_day() {
        // New York repeats 01:30 on 2026-11-01 and skips 02:30 on 2026-03-08.
        let repeated = rule(1, "01:30", "America/New_York", false);
        let mut quota = Quota::default();
        assert_eq!(quota.left(&repeated, at("2026-11-01T05:30:00Z")), Left::Requests(1));
        quota.spend(1);
        assert_eq!(quota.left(&repeated, at("2026-11-01T06:30:00Z")), Left::NoneUntil(at("2026-11-02T06:30:00Z")));
        let skipped = rule(1, "02:30", "America/New_York", false);
        let mut quota = Quota::default();
        assert_eq!(quota.left(&skipped, at("2026-03-08T07:30:00Z")), Left::Requests(1));
        assert_eq!(quota.day().as_deref(), Some("2026-03-08"));
    }

    #[test]
    fn pol_2_spreading_never_gives_more_than_the_share_of_the_day_and_one() {
        let rule = rule(24, "00:00", "UTC", true);
        let mut quota = Quota::default();
        let start = at("2026-03-01T00:00:00Z");
        let mut used = 0;
        let mut now = start;
        while now < at("2026-03-02T00:00:00Z") {
            match quota.left(&rule, now) {
                Left::Requests(_) => {
                    quota.spend(1);
                    used += 1;
                    let passed = now.since_ms(start);
                    assert!(i64::from(used) <= passed / 3_600_000 + 1, "{used} used at {now}");
                }
                Left::NoneUntil(next) => {
                    assert!(next > now);
                    now = next;
                }
            }
        }
        assert_eq!(used, 24);
    }

    #[test]
    fn a_wrong_zone_or_time_is_named() {
        let quota = |resets_at: &str, zone: &str| DailyQuota {
            requests: 1,
            resets_at: resets_at.to_owned(),
            zone: zone.to_owned(),
            spread: false,
            extra: Default::default(),
        };
        assert!(QuotaRule::of(&quota("00:00", "Europe/Nowhere")).unwrap_err().to_string().contains("Europe/Nowhere"));
        assert!(QuotaRule::of(&quota("25:00", "UTC")).unwrap_err().to_string().contains("25:00"));
    }
}
