//! Hand-over of a part of what was revoked.
//!
//! Kafka moves revoked partitions all together: whoever lets one go, lets all go. The seam promises more: a partition goes
//! to another member when *it* is released. So a member that releases some of what it was revoked first marks the rest as
//! held, in the metadata of their commits, and lets all go then. A new owner looks at the commits of what it is assigned
//! and takes a held partition only once the mark is gone, or has stood for the holder's remaining drain budget. The order
//! (mark acknowledged, then let go) makes sure that nobody is assigned a partition before its mark can be seen.

use serde::{Deserialize, Serialize};

use crate::seam::Commit;

/// Longest metadata of a commit, in bytes; the broker's own limit by default.
pub(super) const MAX_METADATA_BYTES: usize = 4 * 1024;

/// Encloses what is ours in the metadata.
const FENCE: char = '\u{1}';

/// Somebody is not done with a partition that the group has already given to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Who; one life of a member.
    pub holder: String,
    /// How long the mark stands at most, in milliseconds from when it is first seen.
    pub budget_ms: u64,
}

/// What stands in the metadata beside the service's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Envelope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<Mark>,
    /// The service has never committed here; the offset means nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    none: bool,
}

/// A commit as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// What the service committed.
    pub commit: Option<Commit>,
    /// Whether somebody holds the partition.
    pub mark: Option<Mark>,
}

/// The metadata that stores a service's metadata (`None`: it never committed) and a mark; `None` when it is too long.
pub(super) fn encode(metadata: Option<&str>, mark: Option<&Mark>) -> Option<String> {
    let envelope = Envelope { mark: mark.cloned(), none: metadata.is_none() };
    let own = metadata.unwrap_or_default();
    // A service's metadata that begins like ours is put into an envelope, so that it comes back as it is.
    if envelope == Envelope::default() && !own.starts_with(FENCE) {
        return Some(own.to_owned());
    }
    let text = format!("{FENCE}{}{FENCE}{own}", serde_json::to_string(&envelope).ok()?);
    (text.len() <= MAX_METADATA_BYTES).then_some(text)
}

/// What a stored commit says.
pub(super) fn decode(partition: u32, offset: u64, metadata: &str) -> Stored {
    let plain = |metadata: &str| Some(Commit { partition, offset, metadata: metadata.to_owned() });
    let enclosed = metadata.strip_prefix(FENCE).and_then(|rest| rest.split_once(FENCE));
    let Some((envelope, own)) = enclosed else { return Stored { commit: plain(metadata), mark: None } };
    match serde_json::from_str::<Envelope>(envelope) {
        Ok(envelope) => Stored { commit: if envelope.none { None } else { plain(own) }, mark: envelope.mark },
        Err(_) => Stored { commit: plain(metadata), mark: None },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_a_service_commits_comes_back_with_and_without_a_mark() {
        let mark = Mark { holder: "a".to_owned(), budget_ms: 5_000 };
        for own in ["", "{\"range\":[0,1]}", "\u{1}strange\u{1}", "\u{fc}"] {
            for mark in [None, Some(&mark)] {
                let stored = decode(3, 7, &encode(Some(own), mark).unwrap());
                assert_eq!(stored.commit.unwrap(), Commit { partition: 3, offset: 7, metadata: own.to_owned() });
                assert_eq!(stored.mark.as_ref(), mark);
            }
        }
        assert_eq!(encode(Some("plain"), None).unwrap(), "plain");
        let stored = decode(3, 0, &encode(None, Some(&mark)).unwrap());
        assert_eq!((stored.commit, stored.mark), (None, Some(mark)));
    }

    #[test]
    fn a_mark_that_does_not_fit_is_not_written() {
        let mark = Mark { holder: "a".to_owned(), budget_ms: 1 };
        assert_eq!(encode(Some(&"x".repeat(MAX_METADATA_BYTES)), Some(&mark)), None);
        assert!(encode(Some(&"x".repeat(MAX_METADATA_BYTES)), None).is_some());
    }
}
