//! How to reach Kafka. Every librdkafka setting may be given, but for those on which the seam's promises rest (`OWN`): they
//! are refused with the reason, never silently overwritten.
//!
//! Secrets come from files or from the environment, and are shown nowhere (SEC-1):
//!
//! ```yaml
//! log:
//!   kafka:
//!     brokers: kafka-1:9093,kafka-2:9093
//!     settings:
//!       security.protocol: SASL_SSL            # or SSL; PLAINTEXT is the default
//!       ssl.ca.location: /etc/kafka/ca.pem     # ssl.certificate.location, ssl.key.location for client certificates
//!       sasl.mechanisms: SCRAM-SHA-512         # SCRAM-SHA-256, PLAIN; OAUTHBEARER with `oauth_token_file` instead
//!       sasl.username: waybill
//!     setting_files: { sasl.password: /run/secrets/kafka-password }
//! ```

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use rdkafka::{config::ClientConfig, error::KafkaError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;
use waybill_schemas::{files::read_text, limits::MAX_KEYS_BYTES};

/// Which protocol shares partitions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupProtocol {
    /// Members agree among themselves (cooperative-sticky).
    #[default]
    Classic,
    /// The broker decides (KIP-848). A killed member's partitions wait for the broker's session timeout (45 s by default).
    Consumer,
}

/// Whether a member keeps its place in the group by its name (`group.instance.id`) while it restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StaticMembers {
    /// With the classic protocol only: a killed static member of a `consumer` group is refused until its session ends.
    #[default]
    Auto,
    /// By name; refused with the `consumer` protocol.
    Static,
    /// Every start is a new member.
    Dynamic,
}

/// How to reach Kafka and behave there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaOptions {
    /// Where to begin: `host:port`, several separated by commas.
    pub brokers: String,
    /// How this process calls itself; also the first part of the group name under which readers without a group appear
    /// (`<client_id>-reader`; they never join, but access rules must let them describe it).
    pub client_id: String,
    /// Copies of each partition of a topic that is created; `None`: the broker's default.
    pub replication: Option<u16>,
    /// `min.insync.replicas` of topics that are created; `None`: the broker's default.
    pub min_insync_replicas: Option<u16>,
    /// Which protocol shares partitions out.
    pub group_protocol: GroupProtocol,
    /// Whether members are known by name.
    pub static_members: StaticMembers,
    /// Classic protocol: after how many milliseconds without a heartbeat a member is given up.
    pub session_timeout_ms: u32,
    /// Longest time a record may wait for its acknowledgement, in milliseconds.
    pub delivery_timeout_ms: u32,
    /// Longest time of one request, in milliseconds; a broker that is silent for longer is connected to anew.
    pub request_timeout_ms: u32,
    /// A compacted topic with one partition to which a tombstone of the key `!clock` is written when the broker's time is
    /// asked for and nothing else was written lately. Readers of that topic pass over the key.
    pub clock_topic: String,
    /// Any librdkafka setting, for every client: TLS, SASL, sizes, timeouts.
    pub settings: Settings,
    /// Beyond `settings`, for the producer only.
    pub producer_settings: Settings,
    /// Beyond `settings`, for consumers only.
    pub consumer_settings: Settings,
    /// Settings whose value is the content of a file (without the last line end), e.g. `sasl.password`.
    pub setting_files: Places,
    /// Settings whose value is in an environment variable of this name.
    pub setting_env: Places,
    /// For `sasl.mechanisms: OAUTHBEARER`: a file with the token (a JWT), read again before the token ends.
    pub oauth_token_file: Option<PathBuf>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            client_id: "waybill".to_owned(),
            replication: None,
            min_insync_replicas: None,
            group_protocol: GroupProtocol::Classic,
            static_members: StaticMembers::Auto,
            session_timeout_ms: 15_000,
            delivery_timeout_ms: 15_000,
            request_timeout_ms: 10_000,
            clock_topic: "waybill.policies".to_owned(),
            settings: Settings::default(),
            producer_settings: Settings::default(),
            consumer_settings: Settings::default(),
            setting_files: Places::default(),
            setting_env: Places::default(),
            oauth_token_file: None,
        }
    }
}

/// Why options cannot be used; one sentence. Keys are named from `kafka` on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionsError(pub(super) String);

/// Settings that Waybill sets itself, and why they cannot be given.
const OWN: &[(&str, &str)] = &[
    ("bootstrap.servers", "use `brokers`"),
    ("metadata.broker.list", "use `brokers`"),
    ("client.id", "use `client_id`"),
    ("group.id", "every service has its own"),
    ("group.instance.id", "use `static_members`"),
    ("group.protocol", "use `group_protocol`"),
    ("session.timeout.ms", "use `session_timeout_ms`"),
    ("message.timeout.ms", "use `delivery_timeout_ms`"),
    ("delivery.timeout.ms", "use `delivery_timeout_ms`"),
    ("partition.assignment.strategy", "partitions move one by one, without stopping the others"),
    ("enable.auto.commit", "an offset is committed only after its outputs are durable"),
    ("enable.auto.offset.store", "an offset is committed only after its outputs are durable"),
    ("auto.offset.reset", "a position that is gone is an error, never a silent reset"),
    ("enable.idempotence", "a retry must not append twice"),
    ("acks", "a record counts when all replicas in sync have it"),
    ("request.required.acks", "a record counts when all replicas in sync have it"),
    ("isolation.level", "records of aborted transactions are no records"),
    ("enable.partition.eof", "readers know the end by it"),
    ("heartbeat.interval.ms", "it follows from `session_timeout_ms`, and is how fast partitions move"),
    ("max.poll.interval.ms", "it follows from `session_timeout_ms` and from how long a drain may take"),
    ("allow.auto.create.topics", "topics are made by `waybill topics apply`, with the settings that they need"),
    ("message.max.bytes", "how large a record may be is the same for every topic and reader"),
    ("transactional.id", "zombies are kept out by claims; nothing is written in transactions"),
];

impl KafkaOptions {
    /// Whether members join by name.
    pub(super) fn is_static(&self) -> bool {
        match self.static_members {
            StaticMembers::Auto => self.group_protocol == GroupProtocol::Classic,
            StaticMembers::Static => true,
            StaticMembers::Dynamic => false,
        }
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.request_timeout_ms))
    }

    pub(super) fn delivery_timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.delivery_timeout_ms))
    }

    /// Checks what can be checked without a broker.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), OptionsError> {
        let refuse = |text: String| Err(OptionsError(text));
        if self.brokers.trim().is_empty() {
            return refuse("kafka.brokers is empty: give at least one host:port".to_owned());
        }
        if self.group_protocol == GroupProtocol::Consumer && self.static_members == StaticMembers::Static {
            return refuse(
                "kafka.static_members: `static` cannot be used with group_protocol `consumer`, where a killed member \
                 would be refused until its session ends: use `auto`"
                    .to_owned(),
            );
        }
        if !(1_000..=1_800_000).contains(&self.session_timeout_ms) {
            return refuse("kafka.session_timeout_ms must be from 1000 to 1800000".to_owned());
        }
        if !(1_000..=300_000).contains(&self.request_timeout_ms) {
            return refuse("kafka.request_timeout_ms must be from 1000 to 300000".to_owned());
        }
        if !(1_000..=900_000).contains(&self.delivery_timeout_ms) {
            return refuse("kafka.delivery_timeout_ms must be from 1000 to 900000".to_owned());
        }
        if self.replication == Some(0) || self.min_insync_replicas == Some(0) {
            return refuse("kafka.replication and kafka.min_insync_replicas must be at least 1".to_owned());
        }
        if let (Some(copies), Some(least)) = (self.replication, self.min_insync_replicas)
            && least > copies
        {
            return refuse(format!("kafka.min_insync_replicas is {least}, but there are only {copies} replicas"));
        }
        for (section, name) in self.given() {
            if let Some((_, why)) = OWN.iter().find(|(own, _)| *own == name) {
                return refuse(format!("kafka.{section}: `{name}` cannot be given: {why}"));
            }
        }
        let mechanism = ["sasl.mechanisms", "sasl.mechanism"].iter().find_map(|name| self.settings.0.get(*name));
        if mechanism.is_some_and(|name| name.eq_ignore_ascii_case("OAUTHBEARER")) && self.oauth_token_file.is_none() {
            return refuse("kafka.oauth_token_file is missing: OAUTHBEARER needs a file with a token".to_owned());
        }
        self.are_known()
    }

    /// Whether librdkafka knows the settings and takes their values. Those in files and variables it sees at the start only:
    /// who checks need not be who holds the secrets.
    fn are_known(&self) -> Result<(), OptionsError> {
        for (section, settings) in [
            ("settings", &self.settings),
            ("producer_settings", &self.producer_settings),
            ("consumer_settings", &self.consumer_settings),
        ] {
            let mut config = ClientConfig::new();
            for (name, value) in &settings.0 {
                config.set(name, value);
            }
            // The description names the setting; it may hold a value only where that is one of a few.
            let refused = config.create_native_config().err();
            if let Some(KafkaError::ClientConfig(_, description, _, _)) = refused {
                return Err(OptionsError(format!("kafka.{section}: librdkafka does not take it: {description}")));
            }
        }
        Ok(())
    }

    fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("settings", &self.settings.0),
            ("producer_settings", &self.producer_settings.0),
            ("consumer_settings", &self.consumer_settings.0),
            ("setting_files", &self.setting_files.0),
            ("setting_env", &self.setting_env.0),
        ];
        all.into_iter().flat_map(|(section, map)| map.keys().map(move |name| (section, name.as_str())))
    }

    /// The settings of every client, files and environment read.
    pub(super) fn common(&self) -> Result<BTreeMap<String, String>, OptionsError> {
        let mut all = self.settings.0.clone();
        for (name, path) in &self.setting_files.0 {
            // A password, or as much as a bundle of certificates.
            let text = read_text(Path::new(path), MAX_KEYS_BYTES)
                .map_err(|error| OptionsError(format!("kafka.setting_files.{name}: {path} cannot be read: {error}")))?;
            all.insert(name.clone(), text.trim_end_matches(['\r', '\n']).to_owned());
        }
        for (name, variable) in &self.setting_env.0 {
            let value = std::env::var(variable)
                .map_err(|_| OptionsError(format!("kafka.setting_env.{name}: the variable {variable} is not set")))?;
            all.insert(name.clone(), value);
        }
        Ok(all)
    }
}

/// librdkafka settings by name. Names may be nested (`sasl: {password: …}` is `sasl.password`). Values whose name tells of
/// a secret are never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Settings(pub BTreeMap<String, String>);

/// Where values of settings are: files or environment variables, by the setting's name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places(pub BTreeMap<String, String>);

fn secret(name: &str) -> bool {
    const TELLING: [&str; 6] = ["password", "secret", "key.pem", "ssl.key", "token", "sasl.oauthbearer.config"];
    TELLING.iter().any(|part| name.contains(part)) && !name.ends_with(".location")
}

impl Settings {
    fn shown(&self) -> BTreeMap<&str, &str> {
        self.0.iter().map(|(name, value)| (name.as_str(), if secret(name) { "***" } else { value })).collect()
    }
}

// SEC-1: neither logs nor `config show` hold a secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        flat(deserializer).map(Self)
    }
}

impl Serialize for Places {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        flat(deserializer).map(Self)
    }
}

/// Environment variables make nested tables of dotted names, and numbers of numbers: both are undone.
fn flat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    fn walk(prefix: &str, value: Value, into: &mut BTreeMap<String, String>) -> Result<(), String> {
        let text = match value {
            Value::Object(inner) => {
                for (name, value) in inner {
                    let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                    walk(&name, value, into)?;
                }
                return Ok(());
            }
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null | Value::Array(_) => return Err(format!("`{prefix}` must be a text, a number or true/false")),
        };
        if prefix.is_empty() {
            return Err("a table of names and values is wanted".to_owned());
        }
        into.insert(prefix.to_owned(), text);
        Ok(())
    }
    let mut all = BTreeMap::new();
    walk("", Value::deserialize(deserializer)?, &mut all).map_err(D::Error::custom)?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn read(text: &str) -> Result<KafkaOptions, String> {
        let options: KafkaOptions = serde_json::from_str(text).map_err(|error| error.to_string())?;
        options.check().map_err(|error| error.to_string())?;
        Ok(options)
    }

    #[test]
    fn every_setting_passes_and_names_may_be_nested() {
        let options =
            read(r#"{"settings": {"sasl": {"password": "x"}, "linger.ms": 3, "socket.keepalive.enable": true}}"#)
                .unwrap();
        let all = options.common().unwrap();
        let pairs: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("linger.ms", "3"), ("sasl.password", "x"), ("socket.keepalive.enable", "true")]);
    }

    #[test]
    fn sec_1_secrets_are_neither_printed_nor_shown() {
        let options = read(
            r#"{"settings": {"sasl.password": "hush", "ssl.key.pem": "hush", "ssl.key.location": "/k"},
                "setting_files": {"sasl.password": "/run/secret"}}"#,
        )
        .unwrap();
        let shown = format!("{options:?} {}", serde_json::to_string(&options).unwrap());
        assert!(!shown.contains("hush") && shown.contains("/k") && shown.contains("/run/secret"), "{shown}");
    }

    #[test]
    fn what_promises_rest_on_is_refused_with_a_reason() {
        for (text, wanted) in [
            (r#"{"settings": {"enable.auto.commit": true}}"#, "outputs are durable"),
            (r#"{"producer_settings": {"acks": 1}}"#, "all replicas"),
            (r#"{"consumer_settings": {"heartbeat.interval.ms": 5}}"#, "how fast partitions move"),
            (r#"{"consumer_settings": {"max": {"poll.interval.ms": 5}}}"#, "how long a drain may take"),
            (r#"{"settings": {"allow.auto.create.topics": true}}"#, "waybill topics apply"),
            (r#"{"producer_settings": {"message.max.bytes": 5}}"#, "the same for every topic"),
            (r#"{"group_protocol": "consumer", "static_members": "static"}"#, "use `auto`"),
            (r#"{"brokers": " "}"#, "host:port"),
            (r#"{"replication": 1, "min_insync_replicas": 2}"#, "only 1 replicas"),
            (r#"{"brokrs": "x"}"#, "brokrs"),
            (r#"{"producer_settings": {"transactional.id": "x"}}"#, "by claims"),
            (r#"{"settings": {"compresion.type": "lz4"}}"#, "kafka.settings: librdkafka does not take it"),
            (r#"{"consumer_settings": {"fetch.min.bytes": "many"}}"#, "fetch.min.bytes"),
            (r#"{"settings": {"sasl.mechanisms": "OAUTHBEARER"}}"#, "oauth_token_file is missing"),
            (r#"{"settings": {"sasl.mechanism": "OAUTHBEARER"}}"#, "oauth_token_file is missing"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(wanted), "{refused}");
        }
        assert!(!read(r#"{"group_protocol": "consumer"}"#).unwrap().is_static());
    }

    #[test]
    fn the_readme_names_each_setting_that_is_refused_and_no_other() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
        let said = readme.lines().find(|line| line.contains("refused with the reason")).unwrap();
        let list = said.split("refused with the reason").nth(1).unwrap();
        let named: std::collections::BTreeSet<&str> =
            list.split('`').skip(1).step_by(2).filter(|name| name.contains('.') || *name == "acks").collect();
        assert_eq!(named, OWN.iter().map(|(name, _)| *name).collect());
    }

    #[test]
    fn secrets_come_from_files_and_a_missing_one_is_a_sentence() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let mut options = KafkaOptions::default();
        options.setting_files.0.insert("sasl.password".to_owned(), file.path().to_string_lossy().into_owned());
        assert_eq!(options.common().unwrap()["sasl.password"], "s3cret");
        options.setting_env.0.insert("ssl.key.password".to_owned(), "WAYBILL_TEST_NEVER_SET".to_owned());
        assert!(options.common().unwrap_err().to_string().contains("WAYBILL_TEST_NEVER_SET"));
        options.setting_files.0.insert("sasl.password".to_owned(), "/dev/zero".to_owned());
        let refused = options.common().unwrap_err().to_string();
        assert!(refused.contains("sasl.password") && refused.contains("more than 1048576 bytes"), "{refused}");
    }
}
