//! An operator's changes to a carrier (`PATCH /v1/carriers/{slug}`): what may be said, and what it makes of the policy. Pure.

use axum::http::StatusCode;
use serde::Deserialize;
use waybill_schemas::{
    WallMs,
    drift::TrialMode,
    politeness::{Budget, BudgetOverride, CanaryPolicy, CarrierPolicy},
};

use crate::problem::Problem;

/// What may be changed; absent fields stay.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CarrierPatch {
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    budget: Option<BudgetOverride>,
    /// Lifts the mark `refuses_automation`.
    #[serde(default)]
    lift: bool,
    /// `false` lifts the mark as well.
    #[serde(default)]
    refuses_automation: Option<bool>,
    #[serde(default)]
    canary: Option<CanaryPatch>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CanaryPatch {
    #[serde(default)]
    share: Option<f64>,
    #[serde(default)]
    mode: Option<TrialMode>,
    #[serde(default)]
    promote: Option<String>,
}

/// What a change is checked against.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// The budget in force.
    pub(crate) budget: Budget,
    /// The candidate's version, if there is one.
    pub(crate) candidate: Option<String>,
    /// Now.
    pub(crate) now: WallMs,
}

fn wrong(code: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}

/// The policy after a change.
pub(crate) fn applied(policy: CarrierPolicy, patch: CarrierPatch, about: &About) -> Result<CarrierPolicy, Problem> {
    let mut policy = policy;
    policy.enabled = patch.enabled.or(policy.enabled);
    if let Some(budget) = patch.budget {
        about.budget.with(&budget).check().map_err(|error| wrong("budget_invalid", format!("budget: {error}")))?;
        let now = &mut policy.budget;
        now.rate_per_second = budget.rate_per_second.or(now.rate_per_second);
        now.burst = budget.burst.or(now.burst);
        now.concurrency = budget.concurrency.or(now.concurrency);
        now.daily_quota = budget.daily_quota.or(now.daily_quota.take());
        now.min_interval_s = budget.min_interval_s.or(now.min_interval_s);
        now.max_interval_s = budget.max_interval_s.or(now.max_interval_s);
    }
    if patch.refuses_automation == Some(true) {
        let detail = "refuses_automation: a person can only lift the mark (false); enabled: false stops a carrier";
        return Err(wrong("mark_invalid", detail.to_owned()));
    }
    if patch.lift || patch.refuses_automation == Some(false) {
        policy.lifted_at = Some(about.now);
    }
    if let Some(canary) = patch.canary {
        policy.canary = Some(canary_after(policy.canary.unwrap_or_default(), canary, about)?);
    }
    Ok(policy)
}

fn canary_after(now: CanaryPolicy, wish: CanaryPatch, about: &About) -> Result<CanaryPolicy, Problem> {
    let Some(candidate) = &about.candidate else {
        let detail = "canary: there is no candidate; name its folder under carriers.<slug>.canary.adapters";
        return Err(wrong("canary_absent", detail.to_owned()));
    };
    if wish.share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        return Err(wrong("canary_invalid", "canary.share must be from 0 to 1".to_owned()));
    }
    if let Some(version) = wish.promote.as_deref().filter(|version| !version.is_empty() && *version != candidate) {
        let detail = format!("canary.promote: the candidate is version {candidate}, not {version}");
        return Err(wrong("canary_invalid", detail));
    }
    Ok(CanaryPolicy {
        share: wish.share.or(now.share),
        mode: wish.mode.or(now.mode),
        promote: wish.promote.or(now.promote).filter(|version| !version.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use serde_json::json;

    fn about(candidate: Option<&str>) -> About {
        About { budget: Budget::default(), candidate: candidate.map(str::to_owned), now: WallMs::new(5) }
    }

    fn patch(value: serde_json::Value, candidate: Option<&str>) -> Result<CarrierPolicy, Problem> {
        let before = CarrierPolicy {
            budget: BudgetOverride { burst: Some(3), ..BudgetOverride::default() },
            ..CarrierPolicy::default()
        };
        applied(before, serde_json::from_value(value).unwrap(), &about(candidate))
    }

    #[test]
    fn present_fields_replace_and_absent_ones_stay() {
        let after = patch(json!({ "budget": { "rate_per_second": 0.2 }, "enabled": false }), None).unwrap();
        assert_eq!((after.budget.rate_per_second, after.budget.burst), (Some(0.2), Some(3)));
        assert_eq!((after.enabled, after.lifted_at), (Some(false), None));
        for lifting in [json!({ "lift": true }), json!({ "refuses_automation": false })] {
            assert_eq!(patch(lifting, None).unwrap().lifted_at, Some(WallMs::new(5)));
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_sentence() {
        for (value, candidate) in [
            (json!({ "budget": { "rate_per_second": 0 } }), None),
            (json!({ "refuses_automation": true }), None),
            (json!({ "canary": { "share": 0.5 } }), None),
            (json!({ "canary": { "share": 1.5 } }), Some("b")),
            (json!({ "canary": { "promote": "a" } }), Some("b")),
        ] {
            let problem = patch(value.clone(), candidate).unwrap_err();
            assert_eq!(problem.body()["status"], 422, "{value}");
        }
        assert!(serde_json::from_value::<CarrierPatch>(json!({ "enabeld": true })).is_err());
    }

    #[test]
    fn a_candidate_is_promoted_by_its_version_and_taken_back() {
        let promoted = patch(json!({ "canary": { "promote": "b", "share": 1 } }), Some("b")).unwrap();
        assert_eq!(promoted.canary.clone().unwrap().promote.as_deref(), Some("b"));
        let back = serde_json::from_value(json!({ "canary": { "promote": "" } })).unwrap();
        let back = applied(promoted, back, &about(Some("b"))).unwrap().canary.unwrap();
        assert_eq!((back.promote, back.share), (None, Some(1.0)));
    }
}
