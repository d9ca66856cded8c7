//! What librdkafka says, in the seam's words.

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

use crate::seam::LogError;

/// A broker that does not answer, does not lead or has no quorum is `Unavailable`: the caller tries again. Only what
/// trying again cannot mend is something else.
pub(super) fn from_code(code: Code, what: &str) -> LogError {
    match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::InvalidTopic => {
            LogError::UnknownTopic(what.to_owned())
        }
        Code::FencedInstanceId | Code::UnreleasedInstanceId => LogError::Fenced,
        Code::KafkaStorageError => LogError::Full(format!("{what}: {code}")),
        _ => LogError::Unavailable(format!("{what}: {code}")),
    }
}

pub(super) fn from_error(error: &KafkaError, what: &str) -> LogError {
    match error {
        KafkaError::AdminOp(code) => from_code(*code, what),
        KafkaError::ClientConfig(_, description, name, _) => {
            LogError::Misconfigured(format!("librdkafka does not take the setting `{name}`: {description}"))
        }
        KafkaError::ClientCreation(text) => LogError::Misconfigured(text.clone()),
        other => match other.rdkafka_error_code() {
            Some(code) => from_code(code, what),
            None => LogError::Unavailable(format!("{what}: {other}")),
        },
    }
}

/// The answer to a blocking call that ended without one.
pub(super) fn gone(what: &str) -> LogError {
    LogError::Unavailable(format!("{what}: the call ended without an answer"))
}
