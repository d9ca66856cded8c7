//! The data directory of a standalone process: who holds it, whose parcels it is for, and the journey clock that was set at
//! the first start. It is made for its owner alone: tracking numbers are personal data.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use waybill_runtime::JourneyScale;
use waybill_schemas::files::read_file;

/// A data directory that this process holds; another process is refused until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Whose parcels a directory is for. Simulated and real ones never share a history, a clock or a budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Parcels {
    /// Real ones: journey time is wall time.
    Real,
    /// A demo's, on a clock that runs like this where the directory is new.
    Simulated(JourneyScale),
}

impl Parcels {
    fn first_journey(self) -> JourneyScale {
        match self {
            Self::Real => JourneyScale::REAL,
            Self::Simulated(first) => first,
        }
    }

    /// Refuses a directory that is for the others; its clock tells.
    fn check(self, path: &Path, stored: JourneyScale) -> Result<()> {
        match (self, stored == JourneyScale::REAL) {
            (Self::Real, false) => bail!(
                "the data directory {} holds a demo's simulated parcels, on a clock of their own; name another with \
                 --data-dir, or go on with `waybill standalone --demo`",
                path.display()
            ),
            (Self::Simulated(_), true) => bail!(
                "the data directory {} holds real parcels, which no demo may join; name another with --data-dir",
                path.display()
            ),
            (Self::Real, true) | (Self::Simulated(_), false) => Ok(()),
        }
    }
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
/// The most that is read of either, in bytes.
const MAX_BYTES: usize = 64 * 1024;

impl DataDir {
    /// Takes the directory, making it when it is new.
    ///
    /// # Errors
    /// When it cannot be made or another process holds it.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        Self::try_take(path)?.map_or_else(
            || {
                // Who it is, if that can be told: that it is held is what hinders.
                let holder = Self::holder(path).ok().flatten();
                let holder = holder.map(|holder| format!(" (process {})", holder.pid)).unwrap_or_default();
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
        make(path).with_context(unusable)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.with_context(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path: path.to_owned(), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(unusable),
        }
    }

    /// Who holds a directory, or held it last, as it said itself; `None` where nobody ever did.
    ///
    /// # Errors
    /// When what it said cannot be read.
    pub(crate) fn holder(path: &Path) -> Result<Option<Holder>> {
        stored(&path.join(HOLDER), "the next process that takes the directory writes it anew")
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

    /// The journey clock of this directory: what was stored, else that of these parcels, which is stored now.
    ///
    /// # Errors
    /// When the directory is for the others, or its clock cannot be read or not be written.
    pub(crate) fn journey(&self, parcels: Parcels) -> Result<JourneyScale> {
        if let Some(stored) = stored_journey(&self.path)? {
            return parcels.check(&self.path, stored).map(|()| stored);
        }
        let first = parcels.first_journey();
        write_whole(&self.path.join(JOURNEY), &serde_json::to_vec(&first)?)?;
        Ok(first)
    }

    /// The journey clock of this directory, whoever it is for: for commands that add no parcel.
    ///
    /// # Errors
    /// When the stored clock cannot be read.
    pub(crate) fn any_journey(&self) -> Result<JourneyScale> {
        Ok(stored_journey(&self.path)?.unwrap_or(JourneyScale::REAL))
    }

    /// Refuses a directory that is for the others, without taking it.
    ///
    /// # Errors
    /// When it is, or its clock cannot be read.
    pub(crate) fn check(path: &Path, parcels: Parcels) -> Result<()> {
        stored_journey(path)?.map_or(Ok(()), |stored| parcels.check(path, stored))
    }
}

fn stored_journey(dir: &Path) -> Result<Option<JourneyScale>> {
    stored(&dir.join(JOURNEY), "restore it or begin with a new --data-dir")
}

/// What a small file of the directory says; `None` where there is none.
fn stored<T: DeserializeOwned>(path: &Path, remedy: &str) -> Result<Option<T>> {
    let bytes = match read_file(path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read; {remedy}", path.display())),
    };
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{} is damaged; {remedy}", path.display()))
}

/// Makes a directory for its owner alone. One that is there keeps its mode: whoever made it chose it.
fn make(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file so that a crash leaves the old or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("{} cannot be written", path.display());
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).with_context(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(failed)?;
    fs::rename(&beside, path).with_context(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::os::unix::fs::PermissionsExt;

    use waybill_schemas::{JourneyMs, WallMs};

    use super::*;

    #[test]
    fn a_new_directory_is_its_owners_alone_and_an_old_one_keeps_its_mode() {
        let above = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let new = above.path().join("deep/data");
        drop(DataDir::take(&new).unwrap());
        assert_eq!(mode(&new), 0o700);
        let old = above.path().join("old");
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o750)).unwrap();
        drop(DataDir::take(&old).unwrap());
        assert_eq!(mode(&old), 0o750);
    }

    #[test]
    fn a_small_file_that_has_grown_is_a_sentence() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path();
        let dir = DataDir::take(path).unwrap();
        assert_eq!(DataDir::holder(path).unwrap(), None);
        let url = "http://127.0.0.1:1".to_owned();
        let holder = Holder { pid: 7, api: url.clone(), admin: url.clone(), sql: url, simulator: None };
        dir.announce(&holder).unwrap();
        assert_eq!(DataDir::holder(path).unwrap(), Some(holder));
        for name in [HOLDER, JOURNEY] {
            fs::write(dir.join(name), vec![b' '; MAX_BYTES + 1]).unwrap();
        }
        for error in [DataDir::holder(path).unwrap_err(), dir.any_journey().unwrap_err()] {
            let said = format!("{error:#}");
            assert!(said.contains(".json cannot be read; ") && said.contains("more than 65536 bytes"), "{said}");
        }
        let said = format!("{:#}", DataDir::take(path).unwrap_err());
        assert!(said.contains("another process holds"), "what it said of itself is not needed for that: {said}");
    }

    #[test]
    fn the_first_clock_says_whose_parcels_a_directory_is_for() {
        let above = tempfile::tempdir().unwrap();
        let fast = JourneyScale { anchor: JourneyMs::new(1), start: WallMs::new(2), scale: 16_201.0 };
        let other = JourneyScale { scale: 2.0, ..fast };
        for (name, own, foreign) in
            [("real", Parcels::Real, Parcels::Simulated(fast)), ("simulated", Parcels::Simulated(fast), Parcels::Real)]
        {
            let path = above.path().join(name);
            let dir = DataDir::take(&path).unwrap();
            assert!(DataDir::check(&path, foreign).is_ok(), "a new directory is for anybody");
            let first = dir.journey(own).unwrap();
            assert_eq!(first, own.first_journey());
            let said = dir.journey(foreign).unwrap_err().to_string();
            assert!(said.contains(path.to_str().unwrap()) && said.contains("--data-dir"), "{said}");
            assert!(DataDir::check(&path, foreign).is_err() && DataDir::check(&path, own).is_ok());
            assert_eq!(dir.any_journey().unwrap(), first);
        }
        // A demo goes on with the clock that it began with.
        let dir = DataDir::take(&above.path().join("simulated")).unwrap();
        assert_eq!(dir.journey(Parcels::Simulated(other)).unwrap(), fast);
    }
}
