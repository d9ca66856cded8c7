//! Where ClickHouse's engine, a library of half a gigabyte, is found.

use std::path::{Path, PathBuf};

/// The version of the engine's package that this program is built and tested against.
pub const LIBRARY_VERSION: &str = "26.7.3";
const FILE_NAME: &str = "libchdb.so";
const VARIABLE: &str = "WAYBILL_CHDB_LIB";

/// Why the library cannot be used. Each message is one sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// This platform has no such library.
    #[error(
        "the embedded ClickHouse exists for 64-bit linux on x86 only: run `waybill standalone --store-url URL` against a ClickHouse of your own"
    )]
    Platform,
    /// `WAYBILL_CHDB_LIB` or the configuration names a file that is not there.
    #[error(
        "there is no ClickHouse library at {0}: correct the path, or unset it and run `make setup` (or `scripts/fetch-chdb.sh`)"
    )]
    NotAtPath(PathBuf),
    /// It is in none of the usual places.
    #[error(
        "the embedded ClickHouse library is missing (looked for {0}): run `make setup` (or `scripts/fetch-chdb.sh`), or name it in WAYBILL_CHDB_LIB, or use `--store-url URL`"
    )]
    Missing(PathBuf),
}

/// Finds the library: the path given, else `WAYBILL_CHDB_LIB`, else the cache, else beside the program.
pub fn locate_library(given: Option<&Path>) -> Result<PathBuf, LibraryError> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(LibraryError::Platform);
    }
    let named = given.map(Path::to_path_buf).or_else(|| variable(VARIABLE).map(PathBuf::from));
    if let Some(named) = named {
        return if named.is_file() { Ok(named) } else { Err(LibraryError::NotAtPath(named)) };
    }
    let cached = cache_directory().join(format!("chdb-{LIBRARY_VERSION}")).join(FILE_NAME);
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join(FILE_NAME)));
    [Some(cached.clone()), beside]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
        .ok_or(LibraryError::Missing(cached))
}

/// The folder where Waybill keeps what it fetched: `WAYBILL_CACHE`, else `XDG_CACHE_HOME/waybill`, else
/// `~/.cache/waybill`. The scripts under `scripts/` follow the same rule.
pub fn cache_directory() -> PathBuf {
    if let Some(own) = variable("WAYBILL_CACHE") {
        return PathBuf::from(own);
    }
    let base = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| PathBuf::from("."));
    base.join("waybill")
}

/// An environment variable that is set and not empty.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_is_named_with_a_remedy() {
        let error = locate_library(Some(Path::new("/nonexistent/libchdb.so"))).map_err(|error| error.to_string());
        assert!(
            error.is_err_and(|text| text.contains("/nonexistent/libchdb.so") && text.contains("scripts/fetch-chdb.sh"))
        );
    }
}
