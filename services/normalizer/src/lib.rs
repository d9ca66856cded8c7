//! Maps carriers' raw events to canonical statuses, never altering their words.
