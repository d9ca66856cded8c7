//! The two opaque memories that travel schedule → request → result → outcome → schedule.

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Bytes that only their owner reads; base64 (standard alphabet, no padding) in JSON. Empty means "nothing known yet".
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Memory(pub Vec<u8>);

impl Memory {
    /// Whether nothing is known yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({} bytes)", self.0.len())
    }
}

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD_NO_PAD.decode(text.as_bytes()).map(Self).map_err(D::Error::custom)
    }
}

/// Both memories of a shipment. They advance together, with an accepted reading, or neither does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memories {
    /// The fetcher's: etag, digest of what was extracted, last payload.
    #[serde(default, skip_serializing_if = "Memory::is_empty")]
    pub fetcher: Memory,
    /// The normalizer's: known events, milestones, latches, last published state.
    #[serde(default, skip_serializing_if = "Memory::is_empty")]
    pub normalizer: Memory,
    /// Memories of a later version, passed on as they came.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}
