//! What can be wrong with an adapter's files, said so that its author finds the place and the remedy.

use std::fmt;

/// An adapter's file is wrong. The message names the file, the line where one is known, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", Place(self))]
pub struct AdapterError {
    /// The file, e.g. `carriers/acme/adapter.yaml`.
    pub file: String,
    /// The line, from 1.
    pub line: Option<u64>,
    /// What is wrong and what to do about it.
    pub problem: String,
}

struct Place<'a>(&'a AdapterError);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.file)?;
        if let Some(line) = self.0.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.0.problem)
    }
}

impl AdapterError {
    /// A problem in `file`, without a line.
    pub(crate) fn new(file: &str, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, problem: problem.into() }
    }

    /// A problem that `needle` in `source` causes; its first line is named.
    pub(crate) fn at(file: &str, source: &str, needle: &str, problem: impl Into<String>) -> Self {
        let first = needle.lines().next().unwrap_or_default();
        let line = source.lines().position(|line| !first.is_empty() && line.contains(first));
        Self { file: file.to_owned(), line: line.map(|index| index as u64 + 1), problem: problem.into() }
    }
}

/// A problem found while compiling a part of an adapter: the text at fault and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) needle: String,
    pub(crate) problem: String,
}

impl Fault {
    pub(crate) fn new(needle: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { needle: needle.into(), problem: problem.into() }
    }

    pub(crate) fn within(self, file: &str, source: &str) -> AdapterError {
        AdapterError::at(file, source, &self.needle, self.problem)
    }
}
