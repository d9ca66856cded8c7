//! What librdkafka's callbacks do: log lines go to tracing (target `rdkafka`), tokens come from a file.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    error::Error,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rdkafka::{
    client::{ClientContext, OAuthToken},
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::KafkaError,
    producer::{DeliveryResult, ProducerContext},
    types::RDKafkaErrorCode,
};
use tokio::time::Instant;
use waybill_schemas::files::read_secret;

use super::{brokers::Brokers, producer::Delivery};

/// How long a token without an end of its own is used, in milliseconds.
const TOKEN_MS: i64 = 300_000;

/// The context of every client.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// Which client speaks.
    pub role: &'static str,
    /// Where OAUTHBEARER's token is.
    pub oauth_token_file: Option<PathBuf>,
    /// Of all clients of the log.
    pub brokers: Arc<Brokers>,
}

/// An error is said again only after this long: every client of a process tells of a lost broker several times a second.
const SAID_FOR: Duration = Duration::from_secs(10);

/// When each error was said last by each kind of client, and how often it was not since.
type Said = BTreeMap<(&'static str, i32), (Instant, u64)>;

static SAID: Mutex<Said> = Mutex::new(Said::new());

/// Whether an error is to be said now, and if so how many like it were not.
fn say(role: &'static str, code: RDKafkaErrorCode) -> Option<u64> {
    let now = Instant::now();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let (last, unsaid) = match said.entry((role, code as i32)) {
        Entry::Vacant(first) => {
            first.insert((now, 0));
            return Some(0);
        }
        Entry::Occupied(known) => known.into_mut(),
    };
    if now.duration_since(*last) < SAID_FOR {
        *unsaid += 1;
        return None;
    }
    *last = now;
    Some(std::mem::take(unsaid))
}

impl Context {
    /// A broker that goes away and comes back is no error of ours: librdkafka reconnects by itself, and whoever waits is
    /// told by the call. So nothing below *critical* is an ERROR here.
    pub(super) fn line(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let role = self.role;
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "rdkafka", role, facility, text, "kafka.client");
            }
            // A failed connection is told as an error too, by `failed`.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if facility == "FAIL" => {
                tracing::debug!(target: "rdkafka", role, facility, text, "kafka.client");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "rdkafka", role, facility, text, "kafka.client");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "rdkafka", role, facility, text, "kafka.client");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "rdkafka", role, facility, text, "kafka.client"),
        }
    }

    pub(super) fn failed(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        // Said of each position by the reader that meets it.
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        if matches!(code, RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure) {
            self.brokers.are_lost();
        }
        // Who is refused waits in vain for an answer: whoever asks is told why there was none.
        if matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) {
            self.brokers.refuse(reason);
        }
        if let Some(unsaid) = say(self.role, code) {
            tracing::warn!(target: "rdkafka", role = self.role, %error, reason, unsaid, "kafka.client");
        }
    }

    /// The token as it is in the file now.
    pub(super) fn token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let Some(path) = &self.oauth_token_file else {
            return Err("log.kafka.oauth_token_file is not set, and OAUTHBEARER needs a token".into());
        };
        let token = read_secret(path)
            .map_err(|error| format!("log.kafka.oauth_token_file {} cannot be read: {error}", path.display()))?;
        let token = token.trim().to_owned();
        let claims = claims(&token).unwrap_or_default();
        #[allow(clippy::disallowed_methods, reason = "a token's life is counted on the wall clock, by both sides")]
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let lifetime_ms = claims.exp.map_or(now.saturating_add(TOKEN_MS), |seconds| seconds.saturating_mul(1_000));
        Ok(OAuthToken { token, principal_name: claims.sub.unwrap_or_else(|| "waybill".to_owned()), lifetime_ms })
    }
}

#[derive(Debug, Default, PartialEq, Eq, serde::Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
    /// Seconds.
    #[serde(default)]
    exp: Option<i64>,
}

/// Who and until when, of a JWT; `None` for other tokens. Nothing is verified: the broker does that.
fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.line(level, facility, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.failed(&error, reason);
    }
    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.token()
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        delivery.settle(result);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_error_that_repeats_is_said_again_only_after_a_while() {
        let down = RDKafkaErrorCode::AllBrokersDown;
        assert_eq!(say("test", down), Some(0));
        assert_eq!((say("test", down), say("test", down)), (None, None));
        assert_eq!(say("test", RDKafkaErrorCode::BrokerTransportFailure), Some(0));
        assert_eq!(say("other", down), Some(0));
        tokio::time::advance(SAID_FOR).await;
        assert_eq!(say("test", down), Some(2));
    }

    #[test]
    fn a_token_is_read_from_its_file_with_who_and_until_when() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"shop","exp":1800000000,"aud":["kafka"]}"#);
        std::fs::write(file.path(), format!("e30.{payload}.sig\n")).unwrap();
        let context =
            Context { role: "test", oauth_token_file: Some(file.path().to_owned()), brokers: Brokers::new("") };
        let token = context.token().unwrap();
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("shop", 1_800_000_000_000));
        assert!(token.token.ends_with(".sig"));
        assert_eq!(claims("opaque"), None);
        assert!(Context { role: "test", oauth_token_file: None, brokers: Brokers::new("") }.token().is_err());
        let refused = Context { role: "test", oauth_token_file: Some("/dev/zero".into()), brokers: Brokers::new("") }
            .token()
            .err()
            .unwrap();
        assert!(refused.to_string().contains("more than 65536 bytes"), "{refused}");
    }
}
