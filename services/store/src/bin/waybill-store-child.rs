//! The embedded ClickHouse's child process as a program of its own, for this crate's tests; the real one is a hidden
//! subcommand of `waybill`.

use std::process::ExitCode;

use waybill_clickhouse::embedded::{ChildArgs, serve_child};

fn main() -> ExitCode {
    let Ok(args) = ChildArgs::parse(std::env::args_os().skip(1)) else {
        return ExitCode::from(2);
    };
    // The reason of a failure has gone to the parent over standard output.
    match serve_child(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
