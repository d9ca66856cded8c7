//! The data directory of a standalone process: who holds it, and the journey clock that was set at the first start.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use waybill_runtime::JourneyScale;

/// A data directory that this process holds; another process is refused until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Where the process that holds a directory answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its API, e.g. `http://127.0.0.1:8080`.
    pub api: String,
    /// Its admin listener.
    pub admin: String,
    /// Its ClickHouse interface.
    pub sql: String,
    /// The demo's simulated carriers, e.g. `http://127.0.0.1:40123`; `/_sim/truth` shows what they answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulator: Option<String>,
}

const HOLDER: &str = "process.json";
const JOURNEY: &str = "journey.json";

impl DataDir {
    /// Takes the directory, making it when it is new.
    ///
    /// # Errors
    /// When it cannot be made or another process holds it.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        Self::try_take(path)?.map_or_else(
            || {
                let holder = Self::holder(path).map(|holder| format!(" (process {})", holder.pid)).unwrap_or_default();
                bail!(
                    "another process{holder} holds the data directory {}; stop it or name another with --data-dir",
                    path.display()
                )
            },
            Ok,
        )
    }

    /// Takes the directory; `None` when another process holds it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn try_take(path: &Path) -> Result<Option<Self>> {
        let unusable = || format!("the data directory {} cannot be used; name another with --data-dir", path.display());
        fs::create_dir_all(path).with_context(unusable)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.with_context(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path: path.to_owned(), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(unusable),
        }
    }

    /// Who holds a directory, as it said itself.
    pub(crate) fn holder(path: &Path) -> Option<Holder> {
        serde_json::from_slice(&fs::read(path.join(HOLDER)).ok()?).ok()
    }

    /// Says where this process answers.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn announce(&self, holder: &Holder) -> Result<()> {
        write_whole(&self.path.join(HOLDER), &serde_json::to_vec(holder)?)
    }

    /// A place within the directory.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The journey clock of this directory: what was stored, else `first`, which is stored now.
    ///
    /// # Errors
    /// When the stored clock cannot be read or the new one not written.
    pub(crate) fn journey(&self, first: JourneyScale) -> Result<JourneyScale> {
        let path = self.path.join(JOURNEY);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged; restore it or begin with a new --data-dir", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_whole(&path, &serde_json::to_vec(&first)?)?;
                Ok(first)
            }
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }
}

/// Writes a file so that a crash leaves the old or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("{} cannot be written", path.display());
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).with_context(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(failed)?;
    fs::rename(&beside, path).with_context(failed)
}
