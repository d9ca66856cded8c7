//! Configuration in layers: defaults in code → file → `WAYBILL__SECTION__KEY` → flags. Unknown keys are errors.

use std::path::{Path, PathBuf};

use config::{Config, ConfigError as Inner, Environment, FileFormat, FileStoredFormat, Format, Map, Source, Value};
use serde::{Serialize, de::DeserializeOwned};
use waybill_schemas::{files::read_text, limits::MAX_CONFIG_BYTES};

/// Why a configuration cannot be used; one sentence that names the place.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or its name does not say in which format it is.
    #[error("configuration file {0} cannot be read: {1}")]
    File(PathBuf, String),
    /// A key is unknown or a value has the wrong form.
    #[error("configuration: {0}; `waybill config show` prints every key with its value")]
    Value(String),
}

/// A file that has been read: the library would read it without a cap.
#[derive(Debug, Clone)]
struct ReadFile {
    shown: String,
    text: String,
    format: FileFormat,
}

impl ReadFile {
    fn of(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |why: String| ConfigError::File(path.to_owned(), why);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let text = read_text(path, MAX_CONFIG_BYTES).map_err(|error| unreadable(error.to_string()))?;
        let mut formats = [FileFormat::Yaml, FileFormat::Toml, FileFormat::Json].into_iter();
        let format = formats.find(|format| format.file_extensions().contains(&ending));
        let unnamed = || unreadable("its name must end in .yaml, .yml, .toml or .json".to_owned());
        Ok(Self { shown: path.display().to_string(), text, format: format.ok_or_else(unnamed)? })
    }
}

impl Source for ReadFile {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, Inner> {
        // Some editors begin a file with a mark of its byte order.
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        let parsed = Format::parse(&self.format, Some(&self.shown), text);
        parsed.map_err(|cause| Inner::FileParse { uri: Some(self.shown.clone()), cause })
    }
}

/// Loads a configuration of type `T`: its defaults, then `file`, then the environment, then `overrides`
/// (`section.key` and value).
///
/// # Errors
/// [`ConfigError`] for an unreadable file, an unknown key or a value of the wrong form.
pub fn load<T>(file: Option<&Path>, overrides: &[(&str, String)]) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned,
{
    load_from(file, Environment::with_prefix("WAYBILL"), overrides)
}

fn load_from<T>(file: Option<&Path>, env: Environment, overrides: &[(&str, String)]) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned,
{
    let value = |error: Inner| ConfigError::Value(plain(&error));
    let mut layers = Config::builder().add_source(Config::try_from(&T::default()).map_err(value)?);
    if let Some(path) = file {
        layers = layers.add_source(ReadFile::of(path)?);
    }
    let up_to_the_file = layers.clone();
    layers = layers.add_source(env.prefix_separator("__").separator("__").try_parsing(true));
    for (key, text) in overrides {
        layers = layers.set_override(*key, text.clone()).map_err(value)?;
    }
    layers.build().and_then(Config::try_deserialize::<T>).map_err(|error| {
        // Of an unknown key the library does not tell who wrote it: whoever is left with the same complaint.
        let said = plain(&error);
        let of_the_file = up_to_the_file.build().and_then(Config::try_deserialize::<T>).err();
        let place = match file {
            Some(path) if of_the_file.is_some_and(|error| plain(&error) == said) => path.display().to_string(),
            _ => "the environment".to_owned(),
        };
        let told = said.ends_with(&format!(" in {place}"));
        ConfigError::Value(if told { said } else { format!("{said} in {place}") })
    })
}

/// The library's words on one line (some formats' errors draw the place over several), without names that only Rust knows.
fn plain(error: &Inner) -> String {
    let said = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let address = "the value is no IP address with a port, such as 127.0.0.1:8080,";
    let said = said.replace("invalid socket address syntax", address);
    let Some((before, after)) = said.split_once("expected struct ") else { return said };
    let after = after.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric());
    format!("{before}expected keys below it{after}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{collections::HashMap, io::Write, net::SocketAddr};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        api: Api,
        rate: f64,
        admin: SocketAddr,
    }
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Api {
        listen: String,
        limit: u32,
    }
    impl Default for Sample {
        fn default() -> Self {
            Self {
                api: Api { listen: "default".into(), limit: 1 },
                rate: 0.5,
                admin: SocketAddr::from(([127, 0, 0, 1], 1)),
            }
        }
    }

    fn env(pairs: &[(&str, &str)]) -> Environment {
        let map: HashMap<String, String> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Environment::with_prefix("WAYBILL").source(Some(map))
    }

    #[test]
    fn each_layer_overrides_the_one_before() {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        writeln!(file, "api:\n  listen: file\n  limit: 2").unwrap();
        let vars = env(&[("WAYBILL__API__LIMIT", "3"), ("WAYBILL__RATE", "2.5")]);
        let all: Sample = load_from(Some(file.path()), vars, &[("api.listen", "flag".into())]).unwrap();
        assert_eq!(all, Sample { api: Api { listen: "flag".into(), limit: 3 }, rate: 2.5, ..Sample::default() });
    }

    #[test]
    fn unknown_keys_and_missing_files_are_sentences() {
        let unknown = load_from::<Sample>(None, env(&[("WAYBILL__API__LISTN", "x")]), &[]).unwrap_err().to_string();
        assert!(unknown.contains("listn") && unknown.contains(" in the environment; "), "{unknown}");
        let missing = load_from::<Sample>(Some(Path::new("nowhere.yaml")), env(&[]), &[]).unwrap_err().to_string();
        assert!(missing.contains("nowhere.yaml"), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let folder = load_from::<Sample>(Some(folder.path()), env(&[]), &[]).unwrap_err().to_string();
        assert!(folder.contains("Is a directory"), "{folder}");
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        writeln!(file, "api = [").unwrap();
        let broken = load_from::<Sample>(Some(file.path()), env(&[]), &[]).unwrap_err().to_string();
        assert!(broken.contains("line 1") && broken.lines().count() == 1, "{broken}");
    }

    #[test]
    fn every_format_is_read_up_to_the_cap_and_what_cannot_be_is_a_sentence_with_the_files_name() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            load_from::<Sample>(Some(&path), env(&[]), &[]).map_err(|error| error.to_string())
        };
        for (name, text) in [
            ("a.yaml", "\u{feff}api: {limit: 7}"),
            ("a.yml", "api:\n  limit: 7\n"),
            ("a.toml", "[api]\nlimit = 7\n"),
            ("a.json", r#"{"api": {"limit": 7}}"#),
        ] {
            assert_eq!(of(name, text.as_bytes()).map(|sample| sample.api.limit), Ok(7), "{name}");
        }
        let comment = |bytes: usize| format!("#{}", " ".repeat(bytes - 1)).into_bytes();
        assert_eq!(of("full.toml", &comment(MAX_CONFIG_BYTES)), Ok(Sample::default()));
        for (name, bytes, why) in [
            ("large.toml", comment(MAX_CONFIG_BYTES + 1), "more than 1048576 bytes"),
            ("latin.yaml", b"api: {listen: caf\xe9}".to_vec(), "not UTF-8"),
            ("waybill.conf", b"rate: 1".to_vec(), "must end in .yaml"),
            ("broken.json", b"{".to_vec(), "waybill config show"),
            ("typo.yaml", b"api: {limit: many}".to_vec(), "limit"),
            ("unknown.yaml", b"api: {listn: x}".to_vec(), "listn"),
            ("flat.toml", b"api = 5".to_vec(), "expected keys below it for key `api`"),
            ("name.json", br#"{"admin": "localhost:80"}"#.to_vec(), "such as 127.0.0.1:8080, for key `admin`"),
        ] {
            let said = of(name, &bytes).unwrap_err();
            assert_eq!(said.matches(name).count(), 1, "the place, once: {said}");
            assert!(said.contains(why) && !said.contains("struct"), "{said}");
        }
        // The file is not blamed for what the environment says.
        let path = dir.path().join("a.yaml");
        let said = load_from::<Sample>(Some(&path), env(&[("WAYBILL__API__LISTN", "x")]), &[]).unwrap_err().to_string();
        assert!(said.contains(" in the environment; ") && !said.contains("a.yaml"), "{said}");
    }
}
