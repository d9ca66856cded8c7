//! Chance that can be repeated: every draw follows from the seed and from what it is drawn for, never from the order in
//! which requests arrive.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A sequence of draws (SplitMix64) that begins at a hash.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Draws that belong to `what` and the numbers behind it.
    pub(crate) fn of(seed: u64, what: &str, parts: &[u64]) -> Self {
        let mut hash = xxh3_64_with_seed(what.as_bytes(), seed);
        for part in parts {
            hash = xxh3_64_with_seed(&part.to_le_bytes(), hash);
        }
        Self(hash)
    }

    /// Draws that belong to texts, such as a carrier and a number.
    pub(crate) fn of_texts(seed: u64, texts: &[&str]) -> Self {
        Self(texts.iter().fold(seed, |hash, text| xxh3_64_with_seed(text.as_bytes(), hash ^ text.len() as u64)))
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to `end`, exclusive; 0 when `end` is 0. The bias of the remainder is far below what anybody could see.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.bits() % end.max(1)
    }

    /// From `low` to `high`, inclusive.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high.saturating_sub(low)).unwrap_or(0).saturating_add(1);
        low.saturating_add(i64::try_from(self.below(width)).unwrap_or(0))
    }

    /// From 0 to 1, exclusive.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True so often.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }
}
