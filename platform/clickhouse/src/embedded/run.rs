//! Runs one statement on a connection of its own, on a thread that may block.
//!
//! Order: find the statement in the stream · gate by names · open a connection and set it up (database, the client's
//! settings, then the endpoint's own, `readonly` last) · gate by the engine's classifier · execute. Nothing the client
//! sends can come after `readonly`. An answer begins only when the first bytes are there, so an early failure still
//! has its proper status; a later one is marked in the body and the body is broken off.

use super::answer::{Failure, Meta};
use super::blocks;
use super::pieces::{Pieces, streams};
use super::request::Asked;
use crate::engine::{Connection, Engine, EngineError, StatementClass};
use crate::gate::{Access, Gate, creates_own_database, setting_refusal};
use crate::statement::{self, Head, Whole};
use axum::http::StatusCode;
use bytes::Bytes;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// The one database the writer may change.
pub(super) const DATABASE: &str = "waybill";
const DEFAULT_FORMAT: &str = "TabSeparated";
/// The longest statement, without an insert's data.
const MAX_STATEMENT: usize = 1 << 20;
/// Pieces of insert data handed to the engine.
const PIECE: usize = 256 << 10;

/// What bounds every statement.
#[derive(Debug, Clone)]
pub(super) struct StatementLimits {
    pub(super) max_threads: u32,
    pub(super) max_execution_seconds: u64,
    pub(super) max_query_memory_bytes: u64,
    /// Most bytes of a result in a format that must be collected before it is sent.
    pub(super) max_collected_bytes: u64,
    /// Longest wait for a client to take the next piece.
    pub(super) send_timeout: Duration,
}

/// What all statements share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    /// The argument that names the engine's folder.
    pub(super) path: String,
    pub(super) gate: Gate,
    pub(super) limits: StatementLimits,
}

/// One statement to run.
pub(super) struct Job {
    pub(super) asked: Asked,
    pub(super) access: Access,
    /// The name under which the statement can be killed.
    pub(super) tag: String,
}

/// Where the answer goes: its beginning, then its pieces.
pub(super) struct Reply {
    head: Option<oneshot::Sender<Result<Meta, Failure>>>,
    pieces: mpsc::Sender<Result<Bytes, EngineError>>,
    runtime: Handle,
    send_timeout: Duration,
    packs: bool,
}

/// The client went away or stopped reading; there is nobody to tell.
struct Gone;

impl Reply {
    pub(super) fn new(
        head: oneshot::Sender<Result<Meta, Failure>>,
        pieces: mpsc::Sender<Result<Bytes, EngineError>>,
        send_timeout: Duration,
    ) -> Self {
        Self { head: Some(head), pieces, runtime: Handle::current(), send_timeout, packs: false }
    }

    fn begin(&mut self, outcome: Result<Meta, Failure>) -> Result<(), Gone> {
        match self.head.take() {
            Some(head) => head.send(outcome).map_err(|_| Gone),
            None => Ok(()),
        }
    }

    fn send(&self, piece: Result<Bytes, EngineError>) -> Result<(), Gone> {
        let piece = piece.map(|bytes| if self.packs { Bytes::from(blocks::pack(&bytes)) } else { bytes });
        let sent = self.runtime.block_on(tokio::time::timeout(self.send_timeout, self.pieces.send(piece)));
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

/// Runs a statement to its end and answers. `body` follows the `query` parameter in the stream.
pub(super) fn run(shared: &Arc<Shared>, job: &Job, body: std::io::Result<Box<dyn Read + Send>>, mut reply: Reply) {
    reply.packs = job.asked.packs_answer;
    let outcome = body.map_err(|error| body_failure(&error)).and_then(|body| attempt(shared, job, body, &mut reply));
    if let Err(failure) = outcome {
        // A client that is gone already needs no answer.
        let _ = reply.begin(Err(failure));
    }
}

fn attempt(shared: &Shared, job: &Job, body: Box<dyn Read + Send>, reply: &mut Reply) -> Result<(), Failure> {
    let mut query = job.asked.query.clone().into_bytes();
    if !query.is_empty() {
        query.push(b'\n');
    }
    let mut stream = std::io::Cursor::new(query).chain(body);
    let (bytes, head) = read_head(&mut stream)?;
    match head {
        Head::Insert { sql, full, format, data } => {
            check_format(&format)?;
            let connection = prepare(shared, job, &full, Answer::Streamed)?;
            let insert = Insert { sql: &sql, format: &format, beginning: &bytes[data..] };
            insert_stream(&connection, job, insert, stream, reply)
        }
        Head::Whole | Head::Undecided => {
            let text =
                String::from_utf8(bytes).map_err(|_| Failure::bad_request("the statement is not valid UTF-8"))?;
            if text.trim().is_empty() {
                return Err(Failure::bad_request("there is no statement"));
            }
            let whole = statement::whole(&text).map_err(Failure::bad_request)?;
            let (format, answer) = answer_form(job, &whole)?;
            let connection = prepare(shared, job, &text, answer)?;
            match answer {
                Answer::Streamed => stream_select(&connection, job, &whole, &format, reply),
                Answer::Collected => collect(shared, &connection, job, (&whole, format), reply),
            }
        }
    }
}

/// Reads until the statement's shape is known; a statement without streamed data is read to its end.
fn read_head(stream: &mut impl Read) -> Result<(Vec<u8>, Head), Failure> {
    let mut bytes = Vec::new();
    let mut piece = vec![0_u8; 64 << 10];
    loop {
        let read = stream.read(&mut piece).map_err(|error| body_failure(&error))?;
        bytes.extend_from_slice(&piece[..read]);
        let complete = read == 0;
        let head = statement::read_head(&bytes, complete).map_err(Failure::bad_request)?;
        match head {
            Head::Insert { .. } => return Ok((bytes, head)),
            Head::Whole | Head::Undecided if complete => return Ok((bytes, Head::Whole)),
            _ if bytes.len() > MAX_STATEMENT => {
                let why = format_args!("the statement is longer than {MAX_STATEMENT} bytes. (QUERY_IS_TOO_LARGE)");
                return Err(Failure::own(StatusCode::PAYLOAD_TOO_LARGE, 307, why));
            }
            _ => {}
        }
    }
}

/// A connection on which exactly this statement may run.
fn prepare(shared: &Shared, job: &Job, full: &str, answer: Answer) -> Result<Connection, Failure> {
    shared.gate.check(full, job.access).map_err(Failure::refused)?;
    let connection = shared
        .engine
        .connect(&[
            shared.path.clone(),
            "--implicit_select=0".to_owned(),
            format!("--max_threads={}", shared.limits.max_threads),
        ])
        .ok_or_else(|| Failure::own(StatusCode::SERVICE_UNAVAILABLE, 1000, "the engine opens no further connection"))?;
    if let Some(database) = job.asked.database.as_deref().filter(|name| !name.is_empty()) {
        connection.query(&format!("USE {}", quoted(database, '`')), DEFAULT_FORMAT, &[])?;
    }
    if let Some(assignments) = settings(shared, job)? {
        connection.query(&format!("SET {assignments}"), DEFAULT_FORMAT, &[])?;
    }
    connection.query(&format!("SET {}", own_settings(&shared.limits, job, answer)), DEFAULT_FORMAT, &[])?;
    classify(&connection, job.access, full)?;
    Ok(connection)
}

/// The client's settings as one list of assignments.
fn settings(shared: &Shared, job: &Job) -> Result<Option<String>, Failure> {
    let mut assignments = Vec::new();
    for (name, value) in &job.asked.settings {
        if let Some(refusal) = setting_refusal(name, job.access) {
            return Err(Failure::refused(refusal));
        }
        let value = match name.as_str() {
            // A longer or unlimited time than the endpoint's is shortened; clients send such by habit.
            "max_execution_time" => bounded(value, shared.limits.max_execution_seconds),
            _ => value.clone(),
        };
        assignments.push(format!("{name} = {}", quoted(&value, '\'')));
    }
    Ok((!assignments.is_empty()).then(|| assignments.join(", ")))
}

fn bounded(value: &str, most: u64) -> String {
    match value.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds < most as f64 => value.to_owned(),
        _ => most.to_string(),
    }
}

/// The endpoint's settings come last, and `readonly` very last: nothing can be changed after it.
fn own_settings(limits: &StatementLimits, job: &Job, answer: Answer) -> String {
    let mut all = vec![
        format!("log_comment = {}", quoted(&job.tag, '\'')),
        format!("max_memory_usage = '{}'", limits.max_query_memory_bytes),
    ];
    if answer == Answer::Collected {
        all.push(format!("max_result_bytes = '{}'", limits.max_collected_bytes));
        all.push("result_overflow_mode = 'throw'".to_owned());
    }
    if !job.asked.settings.iter().any(|(name, _)| name == "max_execution_time") {
        all.push(format!("max_execution_time = '{}'", limits.max_execution_seconds));
    }
    if job.access == Access::Reader {
        all.push("readonly = '1'".to_owned());
    }
    all.join(", ")
}

fn quoted(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        if c == quote || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push(quote);
    out
}

/// The second gate: what the engine's own parser says the statement does.
fn classify(connection: &Connection, access: Access, full: &str) -> Result<(), Failure> {
    let found = connection.classify(full, DATABASE);
    if found.statements > 1 {
        return Err(Failure::bad_request("more than one statement in one request"));
    }
    match (found.class, access) {
        (StatementClass::ReadOnly, _) => Ok(()),
        (StatementClass::Mutating, Access::Writer) if creates_own_database(full, DATABASE) => Ok(()),
        (StatementClass::Mutating, Access::Writer) if found.writes_only_target && !found.changes_databases => Ok(()),
        (StatementClass::Mutating, Access::Writer) => {
            Err(Failure::refused(format_args!("only tables and views of the database {DATABASE} may be changed here")))
        }
        (StatementClass::Mutating, Access::Reader) => Err(Failure::own(
            StatusCode::FORBIDDEN,
            164,
            "default: Cannot execute query in readonly mode: only the user waybill may write. (READONLY)",
        )),
        // What does not parse goes on to fail with the engine's own message about the place.
        (StatementClass::Other, _) if found.statements == 0 => {
            let reason = connection.query(&format!("EXPLAIN AST {full}"), DEFAULT_FORMAT, &[]);
            Err(match reason {
                Err(error) if error.code == 62 => Failure::from(error),
                _ => Failure::bad_request("the statement could not be parsed"),
            })
        }
        (StatementClass::Other, _) => {
            Err(Failure::refused("this kind of statement is not offered by the embedded ClickHouse"))
        }
    }
}

fn check_format(format: &str) -> Result<(), Failure> {
    if statement::is_format_name(format) {
        return Ok(());
    }
    Err(Failure::own(StatusCode::BAD_REQUEST, 73, "a format's name may hold letters and digits only. (UNKNOWN_FORMAT)"))
}

/// An insert: its statement, and the part of its data that came with the head.
struct Insert<'i> {
    sql: &'i str,
    format: &'i str,
    beginning: &'i [u8],
}

fn insert_stream(
    connection: &Connection,
    job: &Job,
    insert: Insert<'_>,
    mut data: impl Read,
    reply: &mut Reply,
) -> Result<(), Failure> {
    // Dropping the stream on any early return cancels the insert: nothing of a broken body is stored.
    let mut stream = connection.insert(insert.sql, insert.format, &job.asked.parameters)?;
    if !insert.beginning.is_empty() {
        stream.append(insert.beginning)?;
    }
    let mut piece = vec![0_u8; PIECE];
    loop {
        let read = data.read(&mut piece).map_err(|error| body_failure(&error))?;
        if read == 0 {
            break;
        }
        stream.append(&piece[..read])?;
    }
    let summary = stream.finish()?;
    let _ = reply.begin(Ok(Meta { format: insert.format.to_owned(), summary: Some(summary) }));
    Ok(())
}

fn body_failure(error: &std::io::Error) -> Failure {
    let status = match error.kind() {
        ErrorKind::TimedOut => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    Failure::own(status, 271, format_args!("{error}. (CANNOT_DECOMPRESS)"))
}

/// How a result is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Piece by piece, of any size.
    Streamed,
    /// In one piece, bounded.
    Collected,
}

/// The output format, and whether the statement's result can be streamed in it.
fn answer_form(job: &Job, whole: &Whole) -> Result<(String, Answer), Failure> {
    let named = whole.format.clone().or_else(|| job.asked.default_format.clone());
    let format = named.filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_FORMAT.to_owned());
    check_format(&format)?;
    // With this setting even a row format is one document with an end.
    let as_array = job.asked.settings.iter().any(|(name, _)| name == "output_format_json_array_of_rows");
    let answer = if whole.selects && streams(&format) && !as_array { Answer::Streamed } else { Answer::Collected };
    Ok((format, answer))
}

fn collect(
    shared: &Shared,
    connection: &Connection,
    job: &Job,
    (whole, format): (&Whole, String),
    reply: &mut Reply,
) -> Result<(), Failure> {
    let block = connection.query(&whole.sql, &format, &job.asked.parameters)?;
    // The engine bounds rows before they are written out; the written form is bounded here.
    if block.bytes().len() as u64 > shared.limits.max_collected_bytes {
        let why = format_args!(
            "the result is too large for the format {format}: ask for one that streams, such as JSONEachRow. (TOO_MANY_ROWS_OR_BYTES)"
        );
        return Err(Failure::own(StatusCode::PAYLOAD_TOO_LARGE, 396, why));
    }
    let meta = Meta { format, summary: Some(block.summary()) };
    let bytes = Bytes::copy_from_slice(block.bytes());
    if reply.begin(Ok(meta)).is_ok() && !bytes.is_empty() {
        let _ = reply.send(Ok(bytes));
    }
    Ok(())
}

fn stream_select(
    connection: &Connection,
    job: &Job,
    whole: &Whole,
    format: &str,
    reply: &mut Reply,
) -> Result<(), Failure> {
    let mut stream = connection.stream(&whole.sql, format, &job.asked.parameters)?;
    let mut pieces = Pieces::new(format);
    let mut next = stream.fetch()?;
    if reply.begin(Ok(Meta { format: format.to_owned(), summary: None })).is_err() {
        return Ok(());
    }
    while let Some(block) = next {
        let bytes = pieces.take(&block);
        if !bytes.is_empty() && reply.send(Ok(bytes)).is_err() {
            return Ok(());
        }
        next = match stream.fetch() {
            Ok(next) => next,
            Err(error) => {
                let _ = reply.send(Err(error));
                return Ok(());
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_cannot_leave_a_value() {
        assert_eq!(quoted("a'; drop \\", '\''), "'a\\'; drop \\\\'");
    }

    #[test]
    fn a_clients_time_limit_can_only_be_shorter() {
        assert_eq!(bounded("5", 60), "5");
        for value in ["0", "600", "-1", "x", "NaN"] {
            assert_eq!(bounded(value, 60), "60", "{value}");
        }
    }
}
