//! What the tests of carriers share.

use std::path::{Path, PathBuf};

/// The carriers as they are on disk, so that data can be changed without building.
pub(crate) fn carriers() -> PathBuf {
    std::env::var_os("WAYBILL_CARRIERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../carriers"), PathBuf::from)
}
