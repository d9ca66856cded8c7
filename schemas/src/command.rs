//! Orders of users (`waybill.commands`), keyed `carrier:number`, partitioned by budget.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{carrier::CarrierSlug, detection::Settling, number::TrackingNumber, time::JourneyMs};

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// Track this number; again: change its fields, resume it if stopped, wake it if it needed data.
    Register,
    /// A look-up by a visitor: registered for a while.
    Lookup,
    /// Stop looking.
    Stop,
    /// Look again.
    Resume,
    /// Look as soon as politeness allows.
    Refresh,
    /// Erase everything about it.
    Forget,
    /// Publish its history again from kept payloads.
    Replay,
    /// Look once whether the carrier knows this number; publishes nothing. Sent by the owner of an undecided number.
    Probe,
    /// The answer to a probe, to the owner of the undecided number.
    Probed,
}

/// A command. Present fields replace, absent ones stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Chosen by the sender, unique per order; repeating a command is harmless.
    pub id: String,
    /// What is ordered.
    pub kind: CommandKind,
    /// The carrier.
    pub carrier: CarrierSlug,
    /// The canonical number.
    pub number: TrackingNumber,
    /// What the carrier needs beyond the number, e.g. `postal_code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<BTreeMap<String, String>>,
    /// The registrant's own reference, at most 64 bytes.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The registrant's labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Origin country, ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Destination country, ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// When the goods were ordered: an ISO date or date-time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_at: Option<String>,
    /// A temporary registration ends here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<JourneyMs>,
    /// With an undecided number, a probe and its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settling: Option<Box<Settling>>,
}

impl Command {
    /// An order that tells nothing of the shipment.
    pub fn new(id: String, kind: CommandKind, carrier: CarrierSlug, number: TrackingNumber) -> Self {
        Self {
            id,
            kind,
            carrier,
            number,
            params: None,
            reference: None,
            tags: None,
            origin: None,
            destination: None,
            ordered_at: None,
            until: None,
            settling: None,
        }
    }
}

/// What registration told of a shipment; travels with every request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// See [`Command::tags`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// See [`Command::origin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// See [`Command::destination`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// See [`Command::ordered_at`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_at: Option<String>,
    /// Fields of a later version, written back as they came.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}
