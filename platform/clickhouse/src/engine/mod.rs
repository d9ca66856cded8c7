//! ClickHouse's engine in this process, behind types that cannot be misused.
//!
//! A connection runs one statement at a time and lives on one thread at a time (`Send`, not `Sync`); results and
//! streams borrow their connection, so none outlives it. An insert that is not finished is cancelled when dropped:
//! what was not acknowledged is never half kept on purpose. The first connection boots the engine on its path and the
//! last one closed stops it, so the endpoint keeps one open for as long as it lives.

mod ffi;

use ffi::{Analysis, Functions, Handle, WithParams};
use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

/// An error the engine reported, with its code (0 where it gave none).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct EngineError {
    pub(crate) code: u32,
    pub(crate) message: String,
}

impl EngineError {
    fn new(message: String) -> Self {
        let code = message
            .strip_prefix("Code: ")
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0);
        Self { code, message }
    }
}

/// What a statement does to state that outlives it, as the engine's parser sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementClass {
    /// Leaves no trace.
    ReadOnly,
    /// Changes something inside a database.
    Mutating,
    /// Changes something beside the databases, steers the server, or did not parse.
    Other,
}

/// The engine's opinion of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Classification {
    pub(crate) class: StatementClass,
    pub(crate) statements: u32,
    /// Every write provably lands in the database named.
    pub(crate) writes_only_target: bool,
    /// Creates, drops or renames a database as a whole.
    pub(crate) changes_databases: bool,
}

/// A query parameter: name and value as they came over the wire.
pub(crate) type Parameter = (String, String);

/// What a finished statement read and wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) read_rows: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_rows: u64,
    pub(crate) written_bytes: u64,
    pub(crate) result_rows: u64,
}

/// The loaded library.
#[derive(Clone)]
pub(crate) struct Engine {
    functions: Arc<Functions>,
}

impl Engine {
    /// Loads the library; our own signal handling stays ours.
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    pub(crate) fn load(path: &Path) -> Result<Self, libloading::Error> {
        let functions = ffi::load(path)?;
        // SAFETY: no connection exists yet, which is when the header asks for this call.
        unsafe { (functions.set_signal_handlers)(0) };
        Ok(Self { functions: Arc::new(functions) })
    }

    /// Opens a connection with command-line style arguments; `None` where the engine refuses (a locked path, a bad value).
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    pub(crate) fn connect(&self, arguments: &[String]) -> Option<Connection> {
        let mut owned = vec![c"clickhouse".to_owned()];
        owned.extend(arguments.iter().filter_map(|argument| CString::new(argument.as_str()).ok()));
        let mut argv: Vec<*mut c_char> = owned.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        let argc = i32::try_from(argv.len()).ok()?;
        // SAFETY: argv points to argc NUL-terminated strings that live until the call returns.
        let handle = unsafe { (self.functions.connect)(argc, argv.as_mut_ptr()) };
        (!handle.is_null()).then(|| Connection { functions: Arc::clone(&self.functions), handle })
    }

    /// Stops every thread of the engine; all connections must be closed.
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    pub(crate) fn shutdown(&self) {
        // SAFETY: safe from any thread; with a connection still open it does nothing.
        unsafe { (self.functions.shutdown)() };
    }
}

/// One session with the engine.
pub(crate) struct Connection {
    functions: Arc<Functions>,
    handle: *mut Handle,
}

// SAFETY: the engine allows a connection to be used from any one thread at a time; `Connection` is not `Sync` and
// every use borrows it, so two threads can never be inside it together.
#[allow(unsafe_code, reason = "the engine's rule is stated above")]
unsafe impl Send for Connection {}

impl Drop for Connection {
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    fn drop(&mut self) {
        // SAFETY: the handle came from connect and is closed once.
        unsafe { (self.functions.close)(self.handle) };
    }
}

/// Parameters in the four arrays the engine wants.
struct ParameterArrays {
    names: Vec<*const c_char>,
    name_lengths: Vec<usize>,
    values: Vec<*const c_char>,
    value_lengths: Vec<usize>,
}

impl ParameterArrays {
    fn new(parameters: &[Parameter]) -> Self {
        Self {
            names: parameters.iter().map(|(name, _)| name.as_ptr().cast()).collect(),
            name_lengths: parameters.iter().map(|(name, _)| name.len()).collect(),
            values: parameters.iter().map(|(_, value)| value.as_ptr().cast()).collect(),
            value_lengths: parameters.iter().map(|(_, value)| value.len()).collect(),
        }
    }
}

impl Connection {
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    fn raw(&self) -> Handle {
        // SAFETY: connect returned a pointer to the handle, which stays valid until close.
        unsafe { *self.handle }
    }

    /// Hands a statement to one of the library's functions that take it with its parameters.
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    fn begin(&self, function: WithParams, sql: &str, format: &str, parameters: &[Parameter]) -> Handle {
        let arrays = ParameterArrays::new(parameters);
        // SAFETY: the function is of the loaded library; every pointer is paired with its length and outlives the call.
        unsafe {
            function(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                arrays.names.as_ptr(),
                arrays.name_lengths.as_ptr(),
                arrays.values.as_ptr(),
                arrays.value_lengths.as_ptr(),
                parameters.len(),
            )
        }
    }

    /// Runs a statement and collects its whole result.
    pub(crate) fn query(&self, sql: &str, format: &str, parameters: &[Parameter]) -> Result<ResultBlock, EngineError> {
        let result = self.begin(self.functions.query, sql, format, parameters);
        ResultBlock::checked(&self.functions, result)
    }

    /// Begins a SELECT whose result comes in pieces.
    pub(crate) fn stream(
        &self,
        sql: &str,
        format: &str,
        parameters: &[Parameter],
    ) -> Result<QueryStream<'_>, EngineError> {
        let result = self.begin(self.functions.stream_query, sql, format, parameters);
        let stream = ResultBlock::checked(&self.functions, result)?;
        Ok(QueryStream { connection: self, stream, ended: false })
    }

    /// Begins an insert whose data comes in pieces.
    pub(crate) fn insert(
        &self,
        sql: &str,
        format: &str,
        parameters: &[Parameter],
    ) -> Result<InsertStream<'_>, EngineError> {
        let handle = self.begin(self.functions.insert, sql, format, parameters);
        let stream = InsertStream { connection: self, handle, open: !handle.is_null() };
        match stream.error() {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Asks the engine's parser what a text would do, in this connection's database.
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    pub(crate) fn classify(&self, sql: &str, target_database: &str) -> Classification {
        let size = u32::try_from(size_of::<Analysis>()).unwrap_or_default();
        let mut analysis = Analysis { struct_size: size, ..Analysis::default() };
        // SAFETY: pointers are paired with lengths; the struct says its own size.
        let state = unsafe {
            (self.functions.classify)(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                target_database.as_ptr().cast(),
                target_database.len(),
                &raw mut analysis,
            )
        };
        let class = match (state, analysis.query_class) {
            (0, 0) => StatementClass::ReadOnly,
            (0, 1) => StatementClass::Mutating,
            _ => StatementClass::Other,
        };
        Classification {
            class,
            statements: analysis.statement_count,
            writes_only_target: analysis.flags & 2 != 0,
            changes_databases: analysis.flags & 4 != 0,
        }
    }
}

/// A result that the engine owns until it is dropped.
pub(crate) struct ResultBlock {
    functions: Arc<Functions>,
    handle: Handle,
}

impl Drop for ResultBlock {
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle is destroyed once, here.
            unsafe { (self.functions.destroy_result)(self.handle) };
        }
    }
}

impl ResultBlock {
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    fn checked(functions: &Arc<Functions>, handle: Handle) -> Result<Self, EngineError> {
        let block = Self { functions: Arc::clone(functions), handle };
        if handle.is_null() {
            return Err(EngineError::new("the engine gave no answer".to_owned()));
        }
        // SAFETY: the handle is live; the text is copied before it can be freed.
        match unsafe { message((functions.result_error)(handle)) } {
            Some(message) => Err(EngineError::new(message)),
            None => Ok(block),
        }
    }

    /// The bytes of the result, in the format asked for.
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: buffer and length belong together and live as long as the handle.
        unsafe {
            let (buffer, length) =
                ((self.functions.result_buffer)(self.handle), (self.functions.result_length)(self.handle));
            if buffer.is_null() || length == 0 { &[] } else { std::slice::from_raw_parts(buffer, length) }
        }
    }

    /// What was read and written.
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    pub(crate) fn summary(&self) -> Summary {
        // SAFETY: plain reads of a live handle.
        unsafe {
            Summary {
                read_rows: (self.functions.result_storage_rows)(self.handle),
                read_bytes: (self.functions.result_storage_bytes)(self.handle),
                written_rows: (self.functions.result_rows_written)(self.handle),
                written_bytes: (self.functions.result_bytes_written)(self.handle),
                result_rows: self.rows(),
            }
        }
    }

    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    fn rows(&self) -> u64 {
        // SAFETY: a plain read of a live handle.
        unsafe { (self.functions.result_rows)(self.handle) }
    }
}

/// A SELECT under way. Dropping it early cancels the query.
pub(crate) struct QueryStream<'c> {
    connection: &'c Connection,
    stream: ResultBlock,
    ended: bool,
}

impl QueryStream<'_> {
    /// The next piece; `None` after the last one. The last piece has no rows but may hold bytes.
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    pub(crate) fn fetch(&mut self) -> Result<Option<ResultBlock>, EngineError> {
        if self.ended {
            return Ok(None);
        }
        let functions = &self.connection.functions;
        // SAFETY: both handles are live and only this thread uses them.
        let handle = unsafe { (functions.stream_fetch)(self.connection.raw(), self.stream.handle) };
        let block = ResultBlock::checked(functions, handle).inspect_err(|_| self.ended = true)?;
        self.ended = block.rows() == 0;
        Ok(Some(block))
    }
}

impl Drop for QueryStream<'_> {
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    fn drop(&mut self) {
        if !self.ended {
            // SAFETY: both handles are live and only this thread uses them.
            unsafe { (self.connection.functions.stream_cancel)(self.connection.raw(), self.stream.handle) };
        }
    }
}

/// An insert under way. Dropping it without [`InsertStream::finish`] cancels it.
pub(crate) struct InsertStream<'c> {
    connection: &'c Connection,
    handle: Handle,
    open: bool,
}

impl InsertStream<'_> {
    /// Hands over some bytes of data; they are copied.
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        // SAFETY: pointer and length belong together; the engine copies before it returns.
        let state =
            unsafe { (self.connection.functions.insert_append)(self.handle, bytes.as_ptr().cast(), bytes.len()) };
        if state == 0 {
            return Ok(());
        }
        Err(self.error().unwrap_or_else(|| EngineError::new("the insert failed without a reason".to_owned())))
    }

    /// Ends the data and commits. Only after this returned is the insert acknowledged.
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    pub(crate) fn finish(mut self) -> Result<Summary, EngineError> {
        self.open = false;
        // SAFETY: the handle is live and finished once.
        let result = unsafe { (self.connection.functions.insert_done)(self.handle) };
        if result.is_null() {
            return Err(self.error().unwrap_or_else(|| EngineError::new("the insert gave no answer".to_owned())));
        }
        ResultBlock::checked(&self.connection.functions, result).map(|block| block.summary())
    }

    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    fn error(&self) -> Option<EngineError> {
        if self.handle.is_null() {
            return Some(EngineError::new("the engine began no insert".to_owned()));
        }
        // SAFETY: the handle is live; the text is copied at once.
        unsafe { message((self.connection.functions.insert_error)(self.handle)) }.map(EngineError::new)
    }
}

impl Drop for InsertStream<'_> {
    #[allow(unsafe_code, reason = "calls into the engine's C interface")]
    fn drop(&mut self) {
        if self.handle.is_null() {
            return;
        }
        // SAFETY: the handle is live; cancel comes before destroy and destroy happens once.
        unsafe {
            if self.open {
                (self.connection.functions.insert_cancel)(self.handle);
            }
            (self.connection.functions.destroy_insert)(self.handle);
        }
    }
}

/// Copies a message the engine owns.
///
/// # Safety
/// `text` is null or points to a NUL-terminated string.
#[allow(unsafe_code, reason = "reads a C string")]
unsafe fn message(text: *const c_char) -> Option<String> {
    if ptr::eq(text, ptr::null()) {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_code_is_read_from_its_text() {
        assert_eq!(EngineError::new("Code: 60. DB::Exception: Table t does not exist".to_owned()).code, 60);
        assert_eq!(EngineError::new("something else".to_owned()).code, 0);
    }
}
