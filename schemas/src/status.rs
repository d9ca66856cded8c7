//! The canonical vocabulary: nine main statuses, thirty sub-statuses, nine milestones.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A main status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// The carrier knows nothing of the number.
    NotFound,
    /// Announced by the shipper, not yet seen by the carrier.
    InfoReceived,
    /// On its way.
    InTransit,
    /// No change seen for so long that looking has ended.
    Expired,
    /// Waiting for the recipient at a shop, locker or office.
    AvailableForPickup,
    /// With the courier for delivery.
    OutForDelivery,
    /// A delivery was attempted and failed.
    DeliveryFailure,
    /// Handed over.
    Delivered,
    /// Something out of the ordinary, before any attempt at delivery.
    Exception,
}

/// A sub-status; each belongs to one main status and is written `Main_Sub` (`InfoReceived` stands alone).
#[allow(missing_docs, reason = "the names are the vocabulary that users of tracking services know")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
#[repr(u8)]
pub enum SubStatus {
    NotFoundOther,
    NotFoundInvalidCode,
    InfoReceived,
    InTransitPickedUp,
    /// Left the origin country's port.
    InTransitDeparture,
    /// Reached the destination country's port.
    InTransitArrival,
    InTransitCustomsProcessing,
    InTransitCustomsReleased,
    InTransitCustomsRequiringInformation,
    InTransitOther,
    ExpiredOther,
    AvailableForPickupOther,
    OutForDeliveryOther,
    DeliveryFailureNoBody,
    DeliveryFailureSecurity,
    DeliveryFailureRejected,
    DeliveryFailureInvalidAddress,
    DeliveryFailureOther,
    DeliveredOther,
    ExceptionReturning,
    ExceptionReturned,
    ExceptionNoBody,
    ExceptionSecurity,
    ExceptionDamage,
    ExceptionRejected,
    ExceptionDelayed,
    ExceptionLost,
    ExceptionDestroyed,
    ExceptionCancel,
    ExceptionOther,
}

use SubStatus as S;

/// Every sub-status in the order of its number, with its written form and main status.
const VOCABULARY: [(SubStatus, &str, Status); 30] = [
    (S::NotFoundOther, "NotFound_Other", Status::NotFound),
    (S::NotFoundInvalidCode, "NotFound_InvalidCode", Status::NotFound),
    (S::InfoReceived, "InfoReceived", Status::InfoReceived),
    (S::InTransitPickedUp, "InTransit_PickedUp", Status::InTransit),
    (S::InTransitDeparture, "InTransit_Departure", Status::InTransit),
    (S::InTransitArrival, "InTransit_Arrival", Status::InTransit),
    (S::InTransitCustomsProcessing, "InTransit_CustomsProcessing", Status::InTransit),
    (S::InTransitCustomsReleased, "InTransit_CustomsReleased", Status::InTransit),
    (S::InTransitCustomsRequiringInformation, "InTransit_CustomsRequiringInformation", Status::InTransit),
    (S::InTransitOther, "InTransit_Other", Status::InTransit),
    (S::ExpiredOther, "Expired_Other", Status::Expired),
    (S::AvailableForPickupOther, "AvailableForPickup_Other", Status::AvailableForPickup),
    (S::OutForDeliveryOther, "OutForDelivery_Other", Status::OutForDelivery),
    (S::DeliveryFailureNoBody, "DeliveryFailure_NoBody", Status::DeliveryFailure),
    (S::DeliveryFailureSecurity, "DeliveryFailure_Security", Status::DeliveryFailure),
    (S::DeliveryFailureRejected, "DeliveryFailure_Rejected", Status::DeliveryFailure),
    (S::DeliveryFailureInvalidAddress, "DeliveryFailure_InvalidAddress", Status::DeliveryFailure),
    (S::DeliveryFailureOther, "DeliveryFailure_Other", Status::DeliveryFailure),
    (S::DeliveredOther, "Delivered_Other", Status::Delivered),
    (S::ExceptionReturning, "Exception_Returning", Status::Exception),
    (S::ExceptionReturned, "Exception_Returned", Status::Exception),
    (S::ExceptionNoBody, "Exception_NoBody", Status::Exception),
    (S::ExceptionSecurity, "Exception_Security", Status::Exception),
    (S::ExceptionDamage, "Exception_Damage", Status::Exception),
    (S::ExceptionRejected, "Exception_Rejected", Status::Exception),
    (S::ExceptionDelayed, "Exception_Delayed", Status::Exception),
    (S::ExceptionLost, "Exception_Lost", Status::Exception),
    (S::ExceptionDestroyed, "Exception_Destroyed", Status::Exception),
    (S::ExceptionCancel, "Exception_Cancel", Status::Exception),
    (S::ExceptionOther, "Exception_Other", Status::Exception),
];

impl Status {
    /// All nine, in the order of a journey's table.
    pub const ALL: [Self; 9] = [
        Self::NotFound,
        Self::InfoReceived,
        Self::InTransit,
        Self::Expired,
        Self::AvailableForPickup,
        Self::OutForDelivery,
        Self::DeliveryFailure,
        Self::Delivered,
        Self::Exception,
    ];

    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::InfoReceived => "InfoReceived",
            Self::InTransit => "InTransit",
            Self::Expired => "Expired",
            Self::AvailableForPickup => "AvailableForPickup",
            Self::OutForDelivery => "OutForDelivery",
            Self::DeliveryFailure => "DeliveryFailure",
            Self::Delivered => "Delivered",
            Self::Exception => "Exception",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl SubStatus {
    /// All thirty, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        VOCABULARY.iter().map(|(sub, _, _)| *sub)
    }

    /// The written form, `Main_Sub`.
    pub const fn as_str(self) -> &'static str {
        VOCABULARY[self as usize].1
    }

    /// The main status it belongs to.
    pub const fn status(self) -> Status {
        VOCABULARY[self as usize].2
    }

    /// Its number, stable for compact memories: new sub-statuses are appended.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The sub-status with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        VOCABULARY.get(usize::from(number)).map(|(sub, _, _)| *sub)
    }
}

/// The text names no status of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not in the vocabulary of statuses")]
pub struct StatusError(String);

impl FromStr for SubStatus {
    type Err = StatusError;
    fn from_str(text: &str) -> Result<Self, StatusError> {
        let found = VOCABULARY.iter().find(|(_, name, _)| *name == text);
        found.map(|(sub, _, _)| *sub).ok_or_else(|| StatusError(text.chars().take(60).collect()))
    }
}
impl TryFrom<String> for SubStatus {
    type Error = StatusError;
    fn try_from(text: String) -> Result<Self, StatusError> {
        text.parse()
    }
}
impl From<SubStatus> for &'static str {
    fn from(sub: SubStatus) -> Self {
        sub.as_str()
    }
}
impl fmt::Display for SubStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place on every journey, kept with the first time it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Milestone {
    /// Announced.
    InfoReceived,
    /// Taken over by the carrier.
    PickedUp,
    /// Left the origin country.
    Departure,
    /// Reached the destination country.
    Arrival,
    /// Waiting for the recipient.
    AvailableForPickup,
    /// With the courier.
    OutForDelivery,
    /// Handed over.
    Delivered,
    /// On its way back.
    Returning,
    /// Back with the sender.
    Returned,
}

impl Milestone {
    /// All nine, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::InfoReceived,
        Self::PickedUp,
        Self::Departure,
        Self::Arrival,
        Self::AvailableForPickup,
        Self::OutForDelivery,
        Self::Delivered,
        Self::Returning,
        Self::Returned,
    ];

    /// The milestone that an event of this sub-status reaches, if any.
    pub const fn reached_by(sub: SubStatus) -> Option<Self> {
        Some(match sub {
            S::InfoReceived => Self::InfoReceived,
            S::InTransitPickedUp => Self::PickedUp,
            S::InTransitDeparture => Self::Departure,
            S::InTransitArrival => Self::Arrival,
            S::AvailableForPickupOther => Self::AvailableForPickup,
            S::OutForDeliveryOther => Self::OutForDelivery,
            S::DeliveredOther => Self::Delivered,
            S::ExceptionReturning => Self::Returning,
            S::ExceptionReturned => Self::Returned,
            _ => return None,
        })
    }

    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InfoReceived => "InfoReceived",
            Self::PickedUp => "PickedUp",
            Self::Departure => "Departure",
            Self::Arrival => "Arrival",
            Self::AvailableForPickup => "AvailableForPickup",
            Self::OutForDelivery => "OutForDelivery",
            Self::Delivered => "Delivered",
            Self::Returning => "Returning",
            Self::Returned => "Returned",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_vocabulary_is_a_bijection_and_names_carry_their_main_status() {
        for (index, sub) in SubStatus::all().enumerate() {
            assert_eq!(usize::from(sub.number()), index);
            assert_eq!(SubStatus::from_number(sub.number()), Some(sub));
            assert_eq!(sub.as_str().parse::<SubStatus>().unwrap(), sub);
            assert_eq!(sub.as_str().split('_').next().unwrap(), sub.status().as_str());
        }
        assert_eq!(SubStatus::from_number(30), None);
    }
}
