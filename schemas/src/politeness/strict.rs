//! Reading budgets from files that people write and from the HTTP interface: an unknown key is a mistake there, and is
//! named. The fields are the types' own; the compiler sees that none is missing.

use serde::{Deserialize, Deserializer};

use super::{Budget, BudgetOverride, DailyQuota, midnight, utc};

#[derive(Deserialize)]
#[serde(remote = "DailyQuota", deny_unknown_fields)]
struct Quota {
    requests: u32,
    #[serde(default = "midnight")]
    resets_at: String,
    #[serde(default = "utc")]
    zone: String,
    #[serde(default)]
    spread: bool,
    #[serde(skip)]
    extra: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(remote = "Budget", deny_unknown_fields)]
struct Whole {
    rate_per_second: f64,
    burst: u32,
    concurrency: u32,
    #[serde(default, deserialize_with = "quota")]
    daily_quota: Option<DailyQuota>,
    min_interval_s: u32,
    #[serde(default)]
    max_interval_s: Option<u32>,
    #[serde(default)]
    basis: Option<String>,
}

#[derive(Deserialize)]
#[serde(remote = "BudgetOverride", deny_unknown_fields)]
struct Changes {
    #[serde(default)]
    rate_per_second: Option<f64>,
    #[serde(default)]
    burst: Option<u32>,
    #[serde(default)]
    concurrency: Option<u32>,
    #[serde(default, deserialize_with = "quota")]
    daily_quota: Option<DailyQuota>,
    #[serde(default)]
    min_interval_s: Option<u32>,
    #[serde(default)]
    max_interval_s: Option<u32>,
    #[serde(skip)]
    extra: serde_json::Map<String, serde_json::Value>,
}

/// A budget, for `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// An unknown key, or a value of the wrong form.
pub fn budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Budget, D::Error> {
    Whole::deserialize(deserializer)
}

/// Changes to a budget, for `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// An unknown key, or a value of the wrong form.
pub fn changes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BudgetOverride, D::Error> {
    Changes::deserialize(deserializer)
}

/// The same where there may be none.
///
/// # Errors
/// An unknown key, or a value of the wrong form.
pub fn changes_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BudgetOverride>, D::Error> {
    #[derive(Deserialize)]
    struct One(#[serde(deserialize_with = "changes")] BudgetOverride);
    Ok(Option::<One>::deserialize(deserializer)?.map(|one| one.0))
}

fn quota<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DailyQuota>, D::Error> {
    #[derive(Deserialize)]
    struct One(#[serde(with = "Quota")] DailyQuota);
    Ok(Option::<One>::deserialize(deserializer)?.map(|one| one.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        #[serde(default, deserialize_with = "changes")]
        budget: BudgetOverride,
    }

    #[test]
    fn an_unknown_key_is_a_mistake_in_a_file_and_kept_on_a_topic() {
        for text in [r#"{"burts": 1}"#, r#"{"daily_quota": {"requests": 5, "zome": "UTC"}}"#] {
            let error = serde_json::from_str::<File>(&format!(r#"{{"budget": {text}}}"#)).map(|file| file.budget);
            assert!(error.is_err_and(|error| error.to_string().contains("unknown field")), "{text}");
            let kept = serde_json::from_str::<BudgetOverride>(text).and_then(|read| serde_json::to_value(&read));
            let whole = serde_json::from_str::<serde_json::Value>(text);
            let misspelt = |value: &serde_json::Value| value.get("burts").or(value["daily_quota"].get("zome")).cloned();
            assert_eq!(kept.ok().as_ref().and_then(misspelt), whole.ok().as_ref().and_then(misspelt), "{text}");
        }
    }
}
