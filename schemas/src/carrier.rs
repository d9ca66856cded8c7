//! Names of carriers and of politeness budgets.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A carrier's slug: `[a-z0-9-]{2,40}`, the name of its adapter's folder. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CarrierSlug(Arc<str>);

/// The name of a politeness budget; a carrier's own slug unless its adapter names another. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BudgetName(Arc<str>);

/// The text cannot name a carrier or a budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no slug: use 2 to 40 of a-z, 0-9 and hyphen")]
pub struct SlugError(String);

fn check(text: &str) -> Result<Arc<str>, SlugError> {
    let fits = (2..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(text.into()) } else { Err(SlugError(text.chars().take(60).collect())) }
}

impl CarrierSlug {
    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The budget that this carrier spends unless its adapter names another.
    pub fn own_budget(&self) -> BudgetName {
        BudgetName(Arc::clone(&self.0))
    }
}

impl BudgetName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CarrierSlug {
    type Err = SlugError;
    fn from_str(text: &str) -> Result<Self, SlugError> {
        check(text).map(Self)
    }
}
impl FromStr for BudgetName {
    type Err = SlugError;
    fn from_str(text: &str) -> Result<Self, SlugError> {
        check(text).map(Self)
    }
}
impl TryFrom<String> for CarrierSlug {
    type Error = SlugError;
    fn try_from(text: String) -> Result<Self, SlugError> {
        text.parse()
    }
}
impl TryFrom<String> for BudgetName {
    type Error = SlugError;
    fn try_from(text: String) -> Result<Self, SlugError> {
        text.parse()
    }
}
impl From<CarrierSlug> for String {
    fn from(slug: CarrierSlug) -> Self {
        slug.0.as_ref().to_owned()
    }
}
impl From<BudgetName> for String {
    fn from(name: BudgetName) -> Self {
        name.0.as_ref().to_owned()
    }
}
impl fmt::Display for CarrierSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for BudgetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for CarrierSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for BudgetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
