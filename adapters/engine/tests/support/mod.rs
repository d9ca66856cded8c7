//! What the tests of carriers share.

use std::path::PathBuf;

/// The carriers as they are on disk, so that data can be changed without building.
pub(crate) fn carriers() -> PathBuf {
    std::env::var_os("WAYBILL_CARRIERS").map_or_else(|| PathBuf::from("../carriers"), PathBuf::from)
}
