//! Carriers on loopback: deterministic, misbehaving on request, with a ledger of everything answered.
