//! Values that one look-up took and others use: tokens with a life.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;
use waybill_adapters::StepName;
use waybill_schemas::WallMs;

/// Carrier, source and step that brought it.
pub(crate) type TokenKey = (String, String, StepName);
/// Values by the adapter's names.
pub(crate) type Taken = BTreeMap<String, String>;

/// In memory only: a token is a secret (SEC-1). Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Tokens(Arc<Mutex<HashMap<TokenKey, Place>>>);

/// Where one carrier's token is kept.
#[derive(Default)]
struct Place {
    kept: Option<Kept>,
    /// Held by the look-up that takes a new one.
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct Kept {
    taken: Taken,
    until: WallMs,
}

impl Tokens {
    pub(crate) fn get(&self, key: &TokenKey, now: WallMs) -> Option<Taken> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = tokens.get(key)?.kept.as_ref().filter(|kept| now < kept.until)?;
        Some(kept.taken.clone())
    }

    /// A turn at taking a token: of several look-ups that find none one takes it, and the others wait and use it.
    pub(crate) async fn turn(&self, key: &TokenKey) -> OwnedMutexGuard<()> {
        let turn = {
            let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&tokens.entry(key.clone()).or_default().turn)
        };
        turn.lock_owned().await
    }

    pub(crate) fn keep(&self, key: TokenKey, taken: &Taken, until: WallMs) {
        let kept = Kept { taken: taken.clone(), until };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().kept = Some(kept);
    }

    /// Throws away a token that the carrier refused; one that somebody else has taken since stays.
    pub(crate) fn throw_away(&self, key: &TokenKey, refused: &Taken) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = tokens.get_mut(key) {
            place.kept.take_if(|kept| kept.taken == *refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_with_its_life_and_only_the_refused_one_is_thrown_away() {
        let tokens = Tokens::default();
        let key: TokenKey = ("acme".to_owned(), "api".to_owned(), StepName::Token);
        let taken = |text: &str| Taken::from([("token".to_owned(), text.to_owned())]);
        let (now, until) = (WallMs::new(1_000), WallMs::new(5_000));
        tokens.keep(key.clone(), &taken("old"), until);
        assert_eq!(tokens.get(&key, now), Some(taken("old")));
        assert_eq!(tokens.get(&key, until), None);
        tokens.keep(key.clone(), &taken("new"), until);
        tokens.throw_away(&key, &taken("old"));
        assert_eq!(tokens.get(&key, now), Some(taken("new")));
        tokens.throw_away(&key, &taken("new"));
        assert_eq!(tokens.get(&key, now), None);
    }
}
