//! The engine's C interface, named as its header names it. The only place with raw pointers is this folder.

use libloading::Library;
use std::ffi::{c_char, c_int, c_void};
use std::path::Path;

pub(super) type Handle = *mut c_void;

/// What the engine's parser says about a statement.
#[repr(C)]
#[derive(Default)]
pub(super) struct Analysis {
    pub(super) struct_size: u32,
    pub(super) statement_count: u32,
    pub(super) flags: u32,
    pub(super) query_class: u32,
}

/// A statement, its format and its parameters: texts, each with its length.
pub(super) type WithParams = unsafe extern "C" fn(
    Handle,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> Handle;

/// Every function used, resolved once.
pub(super) struct Functions {
    pub(super) connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut Handle,
    pub(super) close: unsafe extern "C" fn(*mut Handle),
    pub(super) query: WithParams,
    pub(super) stream_query: WithParams,
    pub(super) stream_fetch: unsafe extern "C" fn(Handle, Handle) -> Handle,
    pub(super) stream_cancel: unsafe extern "C" fn(Handle, Handle),
    pub(super) destroy_result: unsafe extern "C" fn(Handle),
    pub(super) result_error: unsafe extern "C" fn(Handle) -> *const c_char,
    pub(super) result_buffer: unsafe extern "C" fn(Handle) -> *const u8,
    pub(super) result_length: unsafe extern "C" fn(Handle) -> usize,
    pub(super) result_rows: unsafe extern "C" fn(Handle) -> u64,
    pub(super) result_storage_rows: unsafe extern "C" fn(Handle) -> u64,
    pub(super) result_storage_bytes: unsafe extern "C" fn(Handle) -> u64,
    pub(super) result_rows_written: unsafe extern "C" fn(Handle) -> u64,
    pub(super) result_bytes_written: unsafe extern "C" fn(Handle) -> u64,
    pub(super) insert: WithParams,
    pub(super) insert_append: unsafe extern "C" fn(Handle, *const c_void, usize) -> c_int,
    pub(super) insert_done: unsafe extern "C" fn(Handle) -> Handle,
    pub(super) insert_cancel: unsafe extern "C" fn(Handle),
    pub(super) insert_error: unsafe extern "C" fn(Handle) -> *const c_char,
    pub(super) destroy_insert: unsafe extern "C" fn(Handle),
    pub(super) classify:
        unsafe extern "C" fn(Handle, *const c_char, usize, *const c_char, usize, *mut Analysis) -> c_int,
    pub(super) set_signal_handlers: unsafe extern "C" fn(c_int),
    pub(super) shutdown: unsafe extern "C" fn() -> c_int,
    /// Keeps the code above mapped: dropped last.
    _library: Library,
}

/// Loads the library and resolves everything, or says what is wrong with it.
#[allow(unsafe_code, reason = "loading a foreign library is the purpose of this function")]
pub(super) fn load(path: &Path) -> Result<Functions, libloading::Error> {
    // SAFETY: the file is the pinned, checksummed engine (or what the operator named in its stead); its initialisers
    // are ordinary C++ ones, and every signature below was checked against that version's header.
    unsafe {
        let library = Library::new(path)?;
        macro_rules! symbol {
            ($name:literal) => {
                *library.get(concat!($name, "\0").as_bytes())?
            };
        }
        Ok(Functions {
            connect: symbol!("chdb_connect"),
            close: symbol!("chdb_close_conn"),
            query: symbol!("chdb_query_with_params_n"),
            stream_query: symbol!("chdb_stream_query_with_params_n"),
            stream_fetch: symbol!("chdb_stream_fetch_result"),
            stream_cancel: symbol!("chdb_stream_cancel_query"),
            destroy_result: symbol!("chdb_destroy_query_result"),
            result_error: symbol!("chdb_result_error"),
            result_buffer: symbol!("chdb_result_buffer"),
            result_length: symbol!("chdb_result_length"),
            result_rows: symbol!("chdb_result_rows_read"),
            result_storage_rows: symbol!("chdb_result_storage_rows_read"),
            result_storage_bytes: symbol!("chdb_result_storage_bytes_read"),
            result_rows_written: symbol!("chdb_result_rows_written"),
            result_bytes_written: symbol!("chdb_result_bytes_written"),
            insert: symbol!("chdb_stream_insert_with_params_n"),
            insert_append: symbol!("chdb_stream_append"),
            insert_done: symbol!("chdb_stream_done"),
            insert_cancel: symbol!("chdb_stream_cancel_insert"),
            insert_error: symbol!("chdb_stream_insert_error"),
            destroy_insert: symbol!("chdb_destroy_insert_stream"),
            classify: symbol!("chdb_classify_query_n"),
            set_signal_handlers: symbol!("chdb_set_signal_handlers_enabled"),
            shutdown: symbol!("chdb_shutdown"),
            _library: library,
        })
    }
}
