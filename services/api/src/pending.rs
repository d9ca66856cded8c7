//! Orders that the log has and the store does not show yet, so that a GET after `accepted` is never 404.
//!
//! A pure map with a bound: the newest order of each number with its place on the log, dropped once the store has passed
//! that place. When the bound is reached the longest waiting of a partition go; those numbers show up when the store has
//! them, like any other.

use std::collections::{BTreeMap, HashMap};

use waybill_schemas::{ShipmentKey, WallMs, command::CommandKind};

/// Where and when an order was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ordered {
    /// Partition of `waybill.commands`.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// When the log appended it.
    pub at: WallMs,
    /// What was ordered.
    pub kind: CommandKind,
}

/// The orders that the store does not show yet.
#[derive(Debug, Default)]
pub struct Pending {
    by_key: HashMap<ShipmentKey, Ordered>,
    by_place: BTreeMap<(u32, u64), ShipmentKey>,
    limit: usize,
}

impl Pending {
    /// Remembers at most `limit` orders.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), ..Self::default() }
    }

    /// An order was appended.
    pub fn ordered(&mut self, key: ShipmentKey, order: Ordered) {
        let newer = self.by_key.get(&key).is_none_or(|known| known.offset <= order.offset);
        if !newer {
            return;
        }
        if let Some(old) = self.by_key.insert(key.clone(), order) {
            self.by_place.remove(&(old.partition, old.offset));
        }
        self.by_place.insert((order.partition, order.offset), key);
        while self.by_key.len() > self.limit {
            let Some((_, key)) = self.by_place.pop_first() else { break };
            self.by_key.remove(&key);
        }
    }

    /// The store shows everything of a partition before `offset`.
    pub fn stored(&mut self, partition: u32, offset: u64) {
        let rest = self.by_place.split_off(&(partition, offset));
        let (mut keep, passed): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.by_place).into_iter().partition(|((p, _), _)| *p != partition);
        for key in passed.into_values() {
            self.by_key.remove(&key);
        }
        keep.extend(rest);
        self.by_place = keep;
    }

    /// The newest order of a number that the store does not show yet.
    pub fn get(&self, key: &ShipmentKey) -> Option<Ordered> {
        self.by_key.get(key).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn key(number: u64) -> ShipmentKey {
        ShipmentKey::new("test-post".parse().unwrap(), format!("NUMBER{number}").parse().unwrap())
    }

    fn order(partition: u32, offset: u64) -> Ordered {
        Ordered { partition, offset, at: WallMs::new(1), kind: CommandKind::Register }
    }

    #[test]
    fn an_order_stays_until_the_store_has_passed_it() {
        let mut pending = Pending::new(10);
        pending.ordered(key(1), order(0, 5));
        pending.ordered(key(2), order(1, 5));
        pending.ordered(key(1), order(0, 7));
        pending.stored(0, 7);
        assert_eq!(pending.get(&key(1)).unwrap().offset, 7);
        pending.stored(0, 8);
        assert!(pending.get(&key(1)).is_none());
        assert!(pending.get(&key(2)).is_some());
    }

    #[test]
    fn the_bound_holds_and_the_newest_stay() {
        let mut pending = Pending::new(3);
        for number in 0..10 {
            pending.ordered(key(number), order(0, number));
        }
        assert_eq!(pending.len(), 3);
        assert!(pending.get(&key(9)).is_some());
        assert!(pending.get(&key(6)).is_none());
    }
}
