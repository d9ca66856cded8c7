//! Limits on what crosses a border. Beyond them an answer is `unreadable`, a request is refused; nothing is cut silently.

/// Most events that one look-up may yield.
pub const MAX_EVENTS: usize = 1_000;
/// Longest text of an event, in bytes.
pub const MAX_TEXT_BYTES: usize = 4 * 1024;
/// Largest fetch result as JSON, in bytes.
pub const MAX_RESULT_BYTES: usize = 900 * 1024;
/// Largest record on any topic, in bytes: what Kafka's brokers accept by default, less the envelope.
pub const MAX_RECORD_BYTES: usize = 1_000_000;
/// Most numbers in one registration.
pub const MAX_NUMBERS_PER_POST: usize = 1_000;
/// Largest request body at the API, in bytes.
pub const MAX_POST_BYTES: usize = 1024 * 1024;
/// Largest memory that travels with a request, in bytes before base64.
pub const MAX_MEMORY_BYTES: usize = 4 * 1024;
/// Known events that a memory keeps one by one; older ones fold into a count and a minute.
pub const MAX_REMEMBERED_EVENTS: usize = 150;
/// Longest reference of a registrant, in bytes.
pub const MAX_REF_BYTES: usize = 64;
/// Largest answer of a carrier that is read, in bytes after decompression.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Longest text that is looked through for tracking numbers, in bytes.
pub const MAX_DETECT_TEXT_BYTES: usize = 64 * 1024;
/// Longest secret that is read from a file, in bytes.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;
/// Largest configuration file, in bytes: what a Kubernetes ConfigMap may hold.
pub const MAX_CONFIG_BYTES: usize = 1024 * 1024;
/// Largest file of keys or certificates that is read, in bytes.
pub const MAX_KEYS_BYTES: usize = 1024 * 1024;
