//! Writes topics into ClickHouse in contiguous offset ranges.
