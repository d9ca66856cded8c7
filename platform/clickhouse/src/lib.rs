//! ClickHouse: client settings, migrations and the embedded endpoint.
//!
//! - [`client`]: the one place that makes a `clickhouse::Client`, with every timeout and setting it must have.
//! - [`migrations`]: numbered SQL with a ledger.
//! - [`embedded`]: ClickHouse's engine as a library in a child process, behind ClickHouse's HTTP interface, so that
//!   the same client, Python's clickhouse-connect and plain `curl` work against a store that needs no installation.
//! - [`library`]: where that library is found.

pub mod client;
pub mod embedded;
pub mod library;
pub mod migrations;

mod engine;
mod gate;
mod statement;
