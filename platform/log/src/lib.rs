//! The log seam: topics, groups, claims and offset tracking, and the embedded backend.
