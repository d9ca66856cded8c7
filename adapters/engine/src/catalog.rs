//! All carriers: those embedded in the program, and folders that replace or add some.

pub(crate) mod live;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use include_dir::{Dir, include_dir};
use waybill_schemas::{CarrierSlug, files::read_file};

use crate::{
    adapter::{Adapter, Files, Phrases, parse},
    detect::{Detector, operators},
    error::AdapterError,
    examples::Example,
    mapping::Mapping,
    spec::PhrasesSpec,
};

/// Largest file of a carrier, in bytes; the largest of today's has a twentieth of it.
const MAX_FILE_BYTES: usize = 1024 * 1024;

static CARRIERS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../carriers");
static PHRASES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../phrases");
/// [`CARRIERS`], read once: that is most of what a start costs, and every process needs them twice.
static EMBEDDED: OnceLock<Catalog> = OnceLock::new();

/// The carriers that this program knows. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    adapters: BTreeMap<CarrierSlug, Arc<Adapter>>,
    detector: OnceLock<Arc<Detector>>,
}

impl Catalog {
    /// The carriers embedded in the program.
    ///
    /// # Errors
    /// None in a program whose tests passed: every embedded file is loaded there.
    pub fn embedded() -> Result<Self, AdapterError> {
        if let Some(catalog) = EMBEDDED.get() {
            return Ok(catalog.clone());
        }
        let catalog = Self::default().with_dir(&CARRIERS)?;
        Ok(EMBEDDED.get_or_init(|| catalog).clone())
    }

    /// The embedded carriers, then those of each folder in turn; a carrier of the same slug replaces.
    ///
    /// # Errors
    /// [`AdapterError`] names file, line and remedy of the first thing that is wrong.
    pub fn load(overlays: &[PathBuf]) -> Result<Self, AdapterError> {
        let mut catalog = Self::embedded()?;
        for folder in overlays {
            catalog = catalog.with_folder(folder)?;
        }
        Ok(catalog)
    }

    /// The same for whoever asks of one carrier alone: mistakes in the others of these folders do not matter.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_for(overlays: &[PathBuf], slug: &str) -> Result<Self, AdapterError> {
        let mut catalog = Self::embedded()?;
        for folder in overlays {
            catalog = catalog.with_carriers(folder, |name| name == slug)?;
        }
        Ok(catalog)
    }

    /// Only the carriers of a folder, for whoever writes them.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of_folder(folder: &Path) -> Result<Self, AdapterError> {
        Self::default().with_folder(folder)
    }

    /// One carrier of two texts, for tests and tools.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of_texts(slug: &CarrierSlug, adapter: &str, mapping: &str) -> Result<Self, AdapterError> {
        let mut catalog = Self::default();
        let files = Files { folder: slug.as_str(), adapter, mapping };
        catalog.add(Path::new(slug.as_str()), &files, &embedded_phrases()?)?;
        Ok(catalog)
    }

    /// One carrier alone: its folder, with the phrase tables beside the folder of carriers that it stands in.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of_carrier(folder: &Path) -> Result<Self, AdapterError> {
        Self::examine(folder).map_err(first)
    }

    /// The same, and where something is wrong all of it.
    ///
    /// # Errors
    /// Everything that is wrong, file by file and in its order; of a file that is no YAML or not of the format only that.
    pub fn examine(folder: &Path) -> Result<Self, Vec<AdapterError>> {
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let mut errors = Vec::new();
        let mut phrases = embedded_phrases().map_err(|error| vec![error])?;
        if let Some(carriers) = folder.parent() {
            errors.extend(add_phrases_beside(&mut phrases, carriers).err().into_iter().flatten());
        }
        let slug = slug_of(&folder);
        let (adapter, mapping) = (read(&folder.join("adapter.yaml")), read(&folder.join("mapping.yaml")));
        let place = folder.display().to_string();
        match (slug, adapter, mapping) {
            (Ok(slug), Ok(adapter), Ok(mapping)) => {
                let files = Files { folder: &place, adapter: &adapter, mapping: &mapping };
                match Adapter::compile(slug, &files, &phrases) {
                    Ok(adapter) if errors.is_empty() => return Ok(Self::default().with(adapter)),
                    compiled => errors.extend(compiled.err().into_iter().flatten()),
                }
            }
            (slug, adapter, mapping) => {
                errors.extend(slug.err().into_iter().chain(adapter.err()).chain(mapping.err()));
            }
        }
        Err(errors)
    }

    /// These carriers and those of an embedded folder, e.g. a demonstration's.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn with_dir(mut self, folder: &Dir<'_>) -> Result<Self, AdapterError> {
        let phrases = embedded_phrases()?;
        for carrier in folder.dirs() {
            let place = carrier.path().display().to_string();
            let text = |name: &str| -> Result<&str, AdapterError> {
                let file = format!("{place}/{name}");
                let found = carrier.get_file(carrier.path().join(name)).ok_or_else(|| absent(&file))?;
                found.contents_utf8().ok_or_else(|| not_text(&file))
            };
            let files = Files { folder: &place, adapter: text("adapter.yaml")?, mapping: text("mapping.yaml")? };
            self.add(carrier.path(), &files, &phrases)?;
        }
        Ok(self)
    }

    /// These carriers and those of a folder on disk; each of its sub-folders is a carrier.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn with_folder(self, folder: &Path) -> Result<Self, AdapterError> {
        self.with_carriers(folder, |_| true)
    }

    fn with_carriers(mut self, folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Self, AdapterError> {
        if folder.join("adapter.yaml").is_file() {
            let problem = "is the folder of one carrier; name the folder that it stands in";
            return Err(AdapterError::new(&folder.display().to_string(), problem));
        }
        let mut phrases = embedded_phrases()?;
        add_phrases_beside(&mut phrases, folder).map_err(first)?;
        let wanted = |carrier: &PathBuf| carrier.file_name().is_some_and(|name| is_wanted(&name.to_string_lossy()));
        for carrier in folders_in(folder)?.into_iter().filter(wanted) {
            let (adapter, mapping) = (read(&carrier.join("adapter.yaml"))?, read(&carrier.join("mapping.yaml"))?);
            let place = carrier.display().to_string();
            let files = Files { folder: &place, adapter: &adapter, mapping: &mapping };
            self.add(&carrier, &files, &phrases)?;
        }
        Ok(self)
    }

    fn add(&mut self, folder: &Path, files: &Files<'_>, phrases: &Phrases) -> Result<(), AdapterError> {
        let adapter = Adapter::compile(slug_of(folder)?, files, phrases).map_err(first)?;
        *self = std::mem::take(self).with(adapter);
        Ok(())
    }

    fn with(mut self, adapter: Adapter) -> Self {
        self.adapters.insert(adapter.slug.clone(), Arc::new(adapter));
        self.detector = OnceLock::new();
        self
    }

    /// The carrier of this slug, postal operators that can only be recognised included.
    pub fn get(&self, slug: &CarrierSlug) -> Option<Arc<Adapter>> {
        self.adapters.get(slug).cloned().or_else(|| operators::carrier(slug))
    }

    /// Whose a number may be; made with the first question.
    pub fn detector(&self) -> &Arc<Detector> {
        self.detector.get_or_init(|| Arc::new(Detector::new(self.adapters.values())))
    }

    /// Postal operators that can be recognised by their country's numbers and have no adapter here.
    pub fn operators(&self) -> impl Iterator<Item = Arc<Adapter>> {
        let without = operators::all().iter().filter(|one| !self.adapters.contains_key(&one.slug));
        without.filter_map(|one| operators::carrier(&one.slug))
    }

    /// All carriers, by slug.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Adapter>> {
        self.adapters.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.adapters.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.adapters.is_empty()
    }
}

/// The folders of carriers in a folder, by name.
///
/// # Errors
/// [`AdapterError`] when it cannot be read.
pub fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, AdapterError> {
    let shown = folder.display().to_string();
    let unreadable = |error: std::io::Error| {
        AdapterError::new(&shown, format!("cannot be read ({error}); name a folder of carriers"))
    };
    let mut carriers: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            carriers.push(path);
        }
    }
    carriers.sort();
    Ok(carriers)
}

/// The carrier's slug, which its folder is named after.
fn slug_of(folder: &Path) -> Result<CarrierSlug, AdapterError> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.parse::<CarrierSlug>().map_err(|error| {
        AdapterError::new(&folder.display().to_string(), format!("{error}; the folder's name is the carrier's slug"))
    })
}

/// Of several mistakes the one that is told where there is room for one.
pub(crate) fn first(errors: Vec<AdapterError>) -> AdapterError {
    errors.into_iter().next().unwrap_or_else(|| AdapterError::new("", "cannot be read"))
}

/// A folder `phrases` beside a folder of carriers adds languages or replaces them.
fn add_phrases_beside(phrases: &mut Phrases, carriers: &Path) -> Result<(), Vec<AdapterError>> {
    let beside = carriers.parent().map(|parent| parent.join("phrases")).filter(|path| path.is_dir());
    let Some(beside) = beside else { return Ok(()) };
    let shown = beside.display().to_string();
    let unreadable = |error: std::io::Error| vec![AdapterError::new(&shown, format!("cannot be read: {error}"))];
    let all = fs::read_dir(&beside).map_err(unreadable)?;
    let mut errors = Vec::new();
    for entry in all.flatten() {
        let added = match read(&entry.path()) {
            Ok(text) => add_phrases(phrases, &entry.path(), &text),
            Err(error) => Err(vec![error]),
        };
        errors.extend(added.err().into_iter().flatten());
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The embedded examples of a carrier.
pub(crate) fn embedded_examples(slug: &str) -> Vec<Example> {
    let Some(folder) = CARRIERS.get_dir(format!("{slug}/examples")) else { return Vec::new() };
    let example = |folder: &Dir<'static>| {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Example {
            name: name(folder.path()),
            place: folder.path().display().to_string(),
            files: folder.files().map(|file| (name(file.path()), file.contents().to_vec())).collect(),
        }
    };
    folder.dirs().map(example).collect()
}

fn read(path: &Path) -> Result<String, AdapterError> {
    let shown = path.display().to_string();
    let bytes = read_file(path, MAX_FILE_BYTES).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => absent(&shown),
        _ => AdapterError::new(&shown, format!("cannot be read: {error}")),
    })?;
    String::from_utf8(bytes).map_err(|_| not_text(&shown))
}

fn absent(file: &str) -> AdapterError {
    AdapterError::new(file, "does not exist; a carrier has adapter.yaml and mapping.yaml")
}

fn not_text(file: &str) -> AdapterError {
    AdapterError::new(file, "is not UTF-8; save it as UTF-8")
}

/// The program's own phrase tables, compiled once.
pub(crate) fn embedded_phrases() -> Result<Phrases, AdapterError> {
    static KNOWN: OnceLock<Phrases> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let mut phrases = Phrases::new();
    for file in PHRASES.files() {
        let text = file.contents_utf8().ok_or_else(|| not_text(&file.path().display().to_string()))?;
        add_phrases(&mut phrases, file.path(), text).map_err(first)?;
    }
    Ok(KNOWN.get_or_init(|| phrases).clone())
}

fn add_phrases(phrases: &mut Phrases, path: &Path, text: &str) -> Result<(), Vec<AdapterError>> {
    if path.extension().is_none_or(|extension| extension != "yaml") {
        return Ok(());
    }
    let shown = path.display().to_string();
    let spec: PhrasesSpec = parse(&shown, text).map_err(|error| vec![error])?;
    let table = Mapping::phrase_table(&spec).map_err(|faults| faults.within(&shown, text))?;
    let language = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    phrases.insert(language, (Arc::new(table), xxhash_rust::xxh3::xxh3_64(text.as_bytes())));
    Ok(())
}
