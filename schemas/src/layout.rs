//! Where a budget's numbers live: partition = xxh3-64(budget) mod P, the same for every internal topic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::carrier::{BudgetName, CarrierSlug};

/// Key of the layout's record on `waybill.policies`.
pub const LAYOUT_KEY: &str = "layout";
/// Prefix of the keys of operators' overrides on `waybill.policies`: `carrier/<slug>`.
pub const CARRIER_POLICY_PREFIX: &str = "carrier/";

/// The layout, recorded once in `waybill.policies` under [`LAYOUT_KEY`]; changed only by a drained reshard. Carriers that
/// are not named spend their own budget, so adding one is free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Partitions of every internal topic.
    pub partitions: u32,
    /// Carriers that spend another budget than their own.
    #[serde(default)]
    pub budgets: BTreeMap<CarrierSlug, BudgetName>,
}

impl Layout {
    /// The budget that a carrier spends.
    pub fn budget_of(&self, carrier: &CarrierSlug) -> BudgetName {
        self.budgets.get(carrier).cloned().unwrap_or_else(|| carrier.own_budget())
    }

    /// The partition of a budget on every internal topic.
    pub fn partition_of_budget(&self, budget: &BudgetName) -> u32 {
        let wide = xxh3_64(budget.as_str().as_bytes()) % u64::from(self.partitions.max(1));
        u32::try_from(wide).unwrap_or(0)
    }

    /// The partition of a carrier's numbers on every internal topic.
    pub fn partition_of(&self, carrier: &CarrierSlug) -> u32 {
        self.partition_of_budget(&self.budget_of(carrier))
    }
}

/// Partition of a public topic: murmur2 of the key as the Java client's default partitioner does, so every client agrees
/// (Apache Kafka, `org.apache.kafka.common.utils.Utils.murmur2`; sign bit cleared, modulo partitions).
pub fn public_partition(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn murmur2_agrees_with_the_java_client() {
        // Values that Apache Kafka's own unit test (UtilsTest.testMurmur2) lists.
        let known: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key).cast_signed(), hash);
        }
    }

    #[test]
    fn carriers_of_one_budget_share_a_partition() {
        let mut layout = Layout { partitions: 32, budgets: BTreeMap::new() };
        let (a, b): (CarrierSlug, CarrierSlug) = ("dhl".parse().unwrap(), "dhl-express".parse().unwrap());
        layout.budgets.insert(b.clone(), a.own_budget());
        assert_eq!(layout.partition_of(&a), layout.partition_of(&b));
        assert!(layout.partition_of(&a) < 32);
    }
}
