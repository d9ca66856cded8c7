//! What every service stands on: configuration, telemetry, lifecycle, clocks, retry.
