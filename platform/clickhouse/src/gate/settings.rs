//! Which settings a client may not choose: those that read host files, change the language, lift limits or the gate.

use super::{Access, Refusal};

/// Parts of a setting's name that mark it as leading out of the database or changing how text is read.
const REFUSED_PARTS: &[&str] = &[
    "additional_",
    "ai_",
    "allow_experimental",
    "allow_introspection",
    "azure",
    "cloud_mode",
    "custom_disk",
    "dialect",
    "disk_",
    "eval_",
    "_path",
    "_policy",
    "format_schema",
    "format_template",
    "hdfs",
    "implicit_",
    "output_format_schema",
    "rename_files",
    "s3_",
    "schema_registry",
    "_url",
    "url_",
];

/// Settings refused by their whole name.
const REFUSED: &[&str] = &[
    "allow_ddl",
    "default_database_engine",
    "default_table_engine",
    "default_temporary_table_engine",
    "disk",
    "log_comment",
    "max_memory_usage",
    "max_memory_usage_for_user",
    "max_result_bytes",
    "profile",
    "readonly",
    "result_overflow_mode",
    "storage_policy",
    "table_disk",
    "timeout_overflow_mode",
    "workload",
];

/// The refusal for a setting's name, if it is one a client may not set.
pub(crate) fn setting_refusal(name: &str, access: Access) -> Option<Refusal> {
    let lower = name.to_ascii_lowercase();
    let well_formed = !lower.is_empty()
        && lower.len() <= 128
        && lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !well_formed {
        return Some(Refusal("a setting's name may hold letters, digits and underscores only".to_owned()));
    }
    let out = REFUSED.contains(&lower.as_str()) || REFUSED_PARTS.iter().any(|part| lower.contains(part));
    // The reader's limits are the endpoint's; the writer is trusted with its own.
    let lifts = access == Access::Reader && lower.contains("memory_usage");
    (out || lifts).then(|| Refusal(format!("the setting {lower} may not be changed here")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_lead_out_are_refused_in_any_case() {
        for name in [
            "dialect",
            "Dialect",
            "format_schema",
            "additional_table_filters",
            "readonly",
            "format_template_row",
            "disk",
            "a b",
            "",
            "x'",
        ] {
            assert!(setting_refusal(name, Access::Writer).is_some(), "{name}");
        }
    }

    #[test]
    fn what_clients_send_by_themselves_is_accepted() {
        for name in [
            "async_insert",
            "max_partitions_per_insert_block",
            "max_execution_time",
            "date_time_input_format",
            "output_format_json_quote_64bit_integers",
            "send_progress_in_http_headers",
            "http_headers_progress_interval_ms",
            "enable_http_compression",
            "describe_include_subcolumns",
            "insert_deduplication_token",
            "session_timezone",
            "index_granularity",
        ] {
            assert_eq!(setting_refusal(name, Access::Reader), None, "{name}");
        }
    }
}
