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
}

/// A problem found while compiling a part of an adapter: the text at fault and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) needle: String,
    pub(crate) problem: String,
    /// What stands in the same line.
    beside: Option<String>,
}

impl Fault {
    pub(crate) fn new(needle: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { needle: needle.into(), problem: problem.into(), beside: None }
    }

    /// The same, where another text stands in its line.
    pub(crate) fn beside(self, text: &str) -> Self {
        Self { beside: Some(text.to_owned()), ..self }
    }

    /// The lines that it may stand in: those where its text stands by itself, else all that hold it. Comments are not looked
    /// at.
    fn lines(&self, source: &str) -> Vec<u64> {
        let needle = self.needle.lines().next().unwrap_or_default();
        if needle.is_empty() {
            return Vec::new();
        }
        let written = source.lines().zip(1_u64..).filter(|(line, _)| !line.trim_start().starts_with('#'));
        let mut holding: Vec<(&str, u64)> = written.filter(|(line, _)| line.contains(needle)).collect();
        if let Some(text) = self.beside.as_deref()
            && holding.iter().any(|(line, _)| holds_whole(line, text))
        {
            holding.retain(|(line, _)| holds_whole(line, text));
        }
        if holding.iter().any(|(line, _)| holds_whole(line, needle)) {
            holding.retain(|(line, _)| holds_whole(line, needle));
        }
        holding.into_iter().map(|(_, number)| number).collect()
    }
}

/// Whether a text stands in a line by itself, as a key, a value or an item.
fn holds_whole(line: &str, needle: &str) -> bool {
    let begins = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || "'\"[{,".contains(c));
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || "'\"]},:".contains(c));
    line.match_indices(needle)
        .any(|(at, _)| begins(line[..at].chars().next_back()) && ends(line[at + needle.len()..].chars().next()))
}

/// All that is wrong with a part, so that its author learns of it at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults(Vec<Fault>);

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// What could be made; what is wrong with it is kept.
    pub(crate) fn keep<T>(&mut self, made: Result<T, impl Into<Self>>) -> Option<T> {
        match made {
            Ok(made) => Some(made),
            Err(wrong) => {
                self.0.extend(wrong.into().0);
                None
            }
        }
    }

    /// All of several, or none; what is wrong with any of them is kept.
    pub(crate) fn keep_all<T, F: Into<Self>>(
        &mut self,
        made: impl IntoIterator<Item = Result<T, F>>,
    ) -> Option<Vec<T>> {
        let before = self.0.len();
        let made: Vec<T> = made.into_iter().filter_map(|one| self.keep(one)).collect();
        (self.0.len() == before).then_some(made)
    }

    /// The same for what may be left out.
    pub(crate) fn keep_optional<T, F: Into<Self>>(&mut self, made: Option<Result<T, F>>) -> Option<Option<T>> {
        made.map_or(Some(None), |made| self.keep(made).map(Some))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with its place in a file, in the file's order. The same mistake once more is in the next line that it may stand
    /// in; without one it is the same, met twice.
    pub(crate) fn within(self, file: &str, source: &str) -> Vec<AdapterError> {
        let mut errors: Vec<AdapterError> = Vec::new();
        for fault in self.0 {
            let lines = fault.lines(source);
            let is_new =
                |line: &Option<u64>| !errors.iter().any(|error| error.line == *line && error.problem == fault.problem);
            let found =
                if lines.is_empty() { Some(None).filter(is_new) } else { lines.into_iter().map(Some).find(is_new) };
            if let Some(line) = found {
                errors.push(AdapterError { file: file.to_owned(), line, problem: fault.problem });
            }
        }
        errors.sort_by_key(|error| error.line);
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_placed_where_its_text_stands_by_itself_and_repeats_go_to_the_next_line() {
        let source = "# tr\nname: trips\na: {rows: tr}\nb: {rows: tr}\nLost: Lost\nGone: Lost\n";
        let mut faults = Faults::default();
        for _ in 0..4 {
            assert_eq!(faults.keep(Err::<(), _>(Fault::new("tr", "odd"))), None);
        }
        let wrong = Fault::new("Lost", "no status").beside("Gone");
        assert_eq!(faults.keep_all([Ok(1), Err(wrong)]), None);
        assert_eq!(faults.keep_all([Ok::<_, Fault>(1), Ok(2)]), Some(vec![1, 2]));
        faults.add(Fault::new("absent", "somewhere"));
        let told: Vec<String> = faults.within("f", source).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["f: somewhere", "f:3: odd", "f:4: odd", "f:6: no status"]);
    }
}
