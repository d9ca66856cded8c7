//! ClickHouse: client settings, migrations and the embedded endpoint.
