//! The JSON Schemas of carriers' files, for editors: completion, and mistakes shown while typing. What the program itself
//! accepts is decided by the types that read the files; a test keeps both the same.

/// Each file's schema, by the name it is asked for: `adapter`, `mapping` and `phrases`.
pub const ALL: [(&str, &str); 3] = [
    ("adapter", include_str!("../../schema/adapter.schema.json")),
    ("mapping", include_str!("../../schema/mapping.schema.json")),
    ("phrases", include_str!("../../schema/phrases.schema.json")),
];

/// The schema of this name.
pub fn named(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
