//! Configuration in layers: defaults in code → file → `WAYBILL__SECTION__KEY` → flags. Unknown keys are errors.

use std::path::{Path, PathBuf};

use config::{Config, ConfigError as Inner, Environment, File};
use serde::{Serialize, de::DeserializeOwned};

/// Why a configuration cannot be used; one sentence that names the place.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be opened.
    #[error("configuration file {0} cannot be read: {1}")]
    File(PathBuf, String),
    /// A key is unknown or a value has the wrong form.
    #[error("configuration: {0}; `waybill config show` prints every key with its value")]
    Value(String),
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
    // Some formats' errors draw the place over several lines.
    let value = |error: Inner| ConfigError::Value(error.to_string().split_whitespace().collect::<Vec<_>>().join(" "));
    let mut layers = Config::builder().add_source(Config::try_from(&T::default()).map_err(value)?);
    if let Some(path) = file {
        // Looked at first, because the library reports a missing file without saying why.
        let unreadable = |why: String| ConfigError::File(path.to_owned(), why);
        let found = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
        if !found.is_file() {
            return Err(unreadable("it is no regular file".to_owned()));
        }
        layers = layers.add_source(File::from(path));
    }
    layers = layers.add_source(env.prefix_separator("__").separator("__").try_parsing(true));
    for (key, text) in overrides {
        layers = layers.set_override(*key, text.clone()).map_err(value)?;
    }
    layers.build().map_err(value)?.try_deserialize().map_err(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{collections::HashMap, io::Write};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        api: Api,
        rate: f64,
    }
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Api {
        listen: String,
        limit: u32,
    }
    impl Default for Sample {
        fn default() -> Self {
            Self { api: Api { listen: "default".into(), limit: 1 }, rate: 0.5 }
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
        assert_eq!(all, Sample { api: Api { listen: "flag".into(), limit: 3 }, rate: 2.5 });
    }

    #[test]
    fn unknown_keys_and_missing_files_are_sentences() {
        let unknown = load_from::<Sample>(None, env(&[("WAYBILL__API__LISTN", "x")]), &[]).unwrap_err().to_string();
        assert!(unknown.contains("listn"), "{unknown}");
        let missing = load_from::<Sample>(Some(Path::new("nowhere.yaml")), env(&[]), &[]).unwrap_err().to_string();
        assert!(missing.contains("nowhere.yaml"), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let folder = load_from::<Sample>(Some(folder.path()), env(&[]), &[]).unwrap_err().to_string();
        assert!(folder.contains("no regular file"), "{folder}");
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        writeln!(file, "api = [").unwrap();
        let broken = load_from::<Sample>(Some(file.path()), env(&[]), &[]).unwrap_err().to_string();
        assert!(broken.contains("line 1") && broken.lines().count() == 1, "{broken}");
    }
}
