//! What keeps the store from being ready: inserts that wait for ClickHouse.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// All troubles of the moment. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble {
    now: Arc<Mutex<(u64, BTreeMap<u64, String>)>>,
}

/// A trouble that lasts until this is dropped.
#[derive(Debug)]
pub(crate) struct Troubled {
    id: u64,
    of: Trouble,
}

impl Trouble {
    /// Something waits, for this reason.
    pub(crate) fn enter(&self, why: String) -> Troubled {
        let id = self.with(|(next, all)| {
            *next += 1;
            all.insert(*next, why);
            *next
        });
        Troubled { id, of: self.clone() }
    }

    /// The oldest trouble, if there is any.
    pub(crate) fn oldest(&self) -> Option<String> {
        self.with(|(_, all)| all.values().next().cloned())
    }

    fn with<T>(&self, change: impl FnOnce(&mut (u64, BTreeMap<u64, String>)) -> T) -> T {
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Troubled {
    fn drop(&mut self) {
        self.of.with(|(_, all)| all.remove(&self.id));
    }
}
