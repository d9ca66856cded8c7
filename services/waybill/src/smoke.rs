//! `waybill smoke`: whether an installed cluster works, as a caller of the API and a consumer of the topics see it.
//!
//! It registers a number of the sandbox that nobody had before, waits until the API shows its first event (the API reads
//! ClickHouse), and until the same event is on `waybill.tracking-events`, in the partition where consumers look for it. Then
//! it stops the number. Without `log.kafka` there is no topic that another process could read, and it says so.

use std::{
    io::{Write, stdout},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use waybill_log::{KafkaLog, ReadFrom, SharedLog, TopicPartition};
use waybill_runtime::{Clocks, telemetry};
use waybill_schemas::{
    ShipmentKey, TrackingNumber,
    files::read_text,
    layout::public_partition,
    limits::MAX_KEYS_BYTES,
    number::Hyphens,
    topics::{TopicPrefix, names},
};

use crate::{answer, cli::Smoke, config::Config};

/// Between two looks at the API or the topic.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest time of one call.
const CALL: Duration = Duration::from_secs(15);

/// Walks one number through the whole pipeline.
///
/// # Errors
/// One sentence that names how far the number came.
pub(crate) async fn run(order: Smoke) -> Result<ExitCode> {
    let config = Config::load(&order.common)?;
    telemetry::init_logs(&config.telemetry)?;
    let number = format!("SANDBOX-DELIVERED-{:X}", Clocks::system_now().ms());
    let number = TrackingNumber::canonical(&number, Hyphens::Keep)?;
    let key = ShipmentKey::new("sandbox".parse()?, number);
    let api = Api::new(&order.api, order.keys_file.as_deref())?;
    let mut stage = Stage::Connecting;
    let walked = timeout(order.within, walk(&config, &api, &key, &mut stage)).await;
    if stage > Stage::Registering {
        // Whatever came of it, nobody asks for this number any more.
        let stopped = timeout(CALL, api.order(&key, "stop")).await;
        if let Ok(Err(error)) = stopped {
            tracing::warn!(error = format!("{error:#}"), "smoke.stop_failed");
        }
    }
    match walked {
        Ok(done) => done.with_context(|| format!("while {}", stage.doing())).map(|()| ExitCode::SUCCESS),
        Err(_) => bail!("after {} s still {}", order.within.as_secs(), stage.doing()),
    }
}

/// How far the number has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Connecting,
    Registering,
    FirstEvent,
    Topic,
}

impl Stage {
    const fn doing(self) -> &'static str {
        match self {
            Self::Connecting => "connecting to Kafka",
            Self::Registering => "registering a number at the API",
            Self::FirstEvent => {
                "waiting for the number's first event at the API (scheduler, fetcher, normalizer, store)"
            }
            Self::Topic => "waiting for the event on the topic",
        }
    }
}

async fn walk(config: &Config, api: &Api, key: &ShipmentKey, stage: &mut Stage) -> Result<()> {
    let topic = Topic::open(config, key).await?;
    *stage = Stage::Registering;
    api.register(key).await?;
    *stage = Stage::FirstEvent;
    let event = api.first_event(key).await?;
    writeln!(stdout(), "the API shows the first event of {} ({event})", key.number)?;
    let Some(topic) = topic else {
        writeln!(stdout(), "log.kafka is not set: the topic was not looked at")?;
        return Ok(());
    };
    *stage = Stage::Topic;
    topic.holds(key, &event).await?;
    writeln!(stdout(), "{} holds it as well", topic.at.topic)?;
    Ok(())
}

/// The HTTP interface, as a caller with a key.
struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Api {
    fn new(base: &str, keys_file: Option<&Path>) -> Result<Self> {
        // Only needed for the client to exist; an error means that it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(CALL).no_proxy().build()?;
        let token = keys_file.map(first_token).transpose()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token })
    }

    /// One call, made again while nobody answers or the answer is 503.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        loop {
            let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            match request.send().await {
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {}
                // Another process of the API than the one that took the number may not know of it yet.
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND && method == Method::GET => {}
                Ok(answer) if answer.status().is_success() => return answer::json(answer).await,
                Ok(answer) => {
                    let status = answer.status();
                    let text = answer::bytes(answer).await.unwrap_or_default();
                    let text = String::from_utf8_lossy(&text);
                    bail!("{method} {path} is answered {status}: {text}");
                }
                Err(error) if error.is_connect() || error.is_timeout() || error.is_request() => {
                    tracing::debug!(%error, "smoke.api_away");
                }
                Err(error) => return Err(error).with_context(|| format!("{method} {path}")),
            }
            sleep(PAUSE).await;
        }
    }

    async fn register(&self, key: &ShipmentKey) -> Result<()> {
        let body = json!({ "shipments": [{ "number": key.number, "carrier": key.carrier, "ref": "smoke" }] });
        let answer = self.call(Method::POST, "/v1/shipments", Some(&body)).await?;
        if answer["accepted"].as_array().is_none_or(Vec::is_empty) {
            bail!("the API does not accept a number of the sandbox: {}", answer["rejected"]);
        }
        Ok(())
    }

    /// The id of the number's first event, once there is one.
    async fn first_event(&self, key: &ShipmentKey) -> Result<String> {
        let path = format!("/v1/shipments/{}/{}", key.carrier, key.number);
        loop {
            let view = self.call(Method::GET, &path, None).await?;
            let oldest = view["events"].as_array().and_then(|events| events.last());
            if let Some(id) = oldest.and_then(|event| event["event_id"].as_str()) {
                return Ok(id.to_owned());
            }
            sleep(PAUSE).await;
        }
    }

    async fn order(&self, key: &ShipmentKey, what: &str) -> Result<Value> {
        self.call(Method::POST, &format!("/v1/shipments/{}/{}/{what}", key.carrier, key.number), None).await
    }
}

/// The token of a keys file's first line `name token`.
fn first_token(path: &Path) -> Result<String> {
    let text =
        read_text(path, MAX_KEYS_BYTES).with_context(|| format!("--keys-file {} cannot be read", path.display()))?;
    token_of(&text).with_context(|| format!("--keys-file {} holds no line `name token`", path.display()))
}

fn token_of(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next()?.split_once(char::is_whitespace).map(|(_, token)| token.trim().to_owned())
}

/// The partition of the public topic in which a number's events are.
struct Topic {
    log: SharedLog,
    at: TopicPartition,
    from: u64,
}

impl Topic {
    async fn open(config: &Config, key: &ShipmentKey) -> Result<Option<Self>> {
        let Some(kafka) = &config.log.kafka else { return Ok(None) };
        let prefix: TopicPrefix = config.log.prefix.parse().context("log.prefix")?;
        let log: SharedLog = Arc::new(KafkaLog::connect(kafka.clone()).await?);
        let name = prefix.of(names::TRACKING_EVENTS);
        let partitions = log.describe(&name).await?.partitions;
        let at = TopicPartition::new(name, public_partition(key.record_key().as_bytes(), partitions));
        let from = log.bounds(&at).await?.next;
        Ok(Some(Self { log, at, from }))
    }

    /// Waits until the event is there.
    async fn holds(&self, key: &ShipmentKey, event: &str) -> Result<()> {
        let key = key.record_key();
        let mut offset = self.from;
        loop {
            let read = ReadFrom { at: self.at.clone(), offset, max_records: 1_000, max_bytes: 1 << 20, wait: PAUSE };
            let batch = self.log.read(read).await?;
            let ours = |record: &&waybill_log::Record| record.key.as_deref() == Some(key.as_bytes());
            for record in batch.records.iter().filter(ours) {
                let value: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
                if value["event_id"] == event {
                    return Ok(());
                }
            }
            offset = batch.next_offset;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_first_key_of_the_file_is_used() {
        let text = "# ours\n\n  shop   0123456789abcdef01234567  \nother x\n";
        assert_eq!(token_of(text).as_deref(), Some("0123456789abcdef01234567"));
        assert_eq!(token_of("# none\n"), None);
        assert_eq!(token_of("alone"), None);
    }

    #[test]
    fn a_keys_file_without_an_end_is_refused() {
        let refused = format!("{:#}", first_token(Path::new("/dev/zero")).unwrap_err());
        assert!(refused.contains("--keys-file") && refused.contains("more than 1048576 bytes"), "{refused}");
    }
}
