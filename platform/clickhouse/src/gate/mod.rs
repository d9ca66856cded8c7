//! The statement gate, first line: nothing a client sends may reach the host's files, network or processes.
//!
//! Pure: text in, verdict out. The engine's own classifier is asked separately (it knows what a statement *does*);
//! this module knows which *names* lead out of the database. Everything is default-deny: a table function or engine
//! that is not on the short lists below is refused, whatever a future engine adds. Two more walls stand behind it:
//! the reader's connections run with `readonly = 1`, and the engine's `default` database, which would resolve
//! unknown table names to host files, is replaced by an empty one at start.

mod settings;
pub(crate) mod tokens;

pub(crate) use settings::setting_refusal;
use std::collections::HashSet;
use tokens::{Kind, Token, tokens};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The default user: may only read.
    Reader,
    /// The user `waybill`: may also change the database `waybill`.
    Writer,
}

/// Why a statement is refused: one sentence for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(pub(crate) String);

/// Table functions that stay inside the database; every other one is refused.
const SAFE_TABLE_FUNCTIONS: &[&str] = &[
    "format",
    "generate_series",
    "generaterandom",
    "generateseries",
    "merge",
    "mergetreeindex",
    "mergetreeprojection",
    "null",
    "numbers",
    "numbers_mt",
    "primes",
    "values",
    "view",
    "zeros",
    "zeros_mt",
];

/// Names refused even if the engine does not list them as table functions: ordinary functions that read host files
/// or call out, and the best known ways out in case the engine's list could not be read.
const ALWAYS_REFUSED: &[&str] = &[
    "addresstoline",
    "addresstolinewithinlines",
    "addresstosymbol",
    "aiclassify",
    "aiembed",
    "aiextract",
    "aigenerate",
    "aitranslate",
    "arrowstream",
    "catboostevaluate",
    "cluster",
    "clusterallreplicas",
    "dictionary",
    "disk",
    "eval",
    "evalmlmethod",
    "executable",
    "file",
    "filecluster",
    "filesystem",
    "fuzzquery",
    "hdfs",
    "iceberglocal",
    "input",
    "jdbc",
    "loop",
    "mongodb",
    "mysql",
    "odbc",
    "postgresql",
    "python",
    "redis",
    "remote",
    "remotesecure",
    "s3",
    "sqlite",
    "url",
    "urlcluster",
    "viewexplain",
];

/// Table engines whose data stays in the database's own folder or in memory.
const SAFE_ENGINES: &[&str] = &[
    "aggregatingmergetree",
    "coalescingmergetree",
    "collapsingmergetree",
    "join",
    "log",
    "materializedview",
    "memory",
    "merge",
    "mergetree",
    "null",
    "replacingmergetree",
    "set",
    "stripelog",
    "summingmergetree",
    "tinylog",
    "versionedcollapsingmergetree",
    "view",
];

/// Words that may follow a column called `engine`: then it is no `ENGINE` clause.
const AFTER_A_COLUMN: &[&str] = &[
    "and", "as", "asc", "between", "desc", "format", "from", "global", "group", "having", "ilike", "in", "is", "limit",
    "like", "not", "or", "order", "then", "union", "when", "where",
];

/// The gate's rules for one engine.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    refused: HashSet<String>,
}

impl Gate {
    /// `table_functions` are the names the engine itself knows.
    pub(crate) fn new<'n>(table_functions: impl IntoIterator<Item = &'n str>) -> Self {
        let refused = table_functions
            .into_iter()
            .map(str::to_ascii_lowercase)
            .filter(|name| !SAFE_TABLE_FUNCTIONS.contains(&name.as_str()))
            .chain(ALWAYS_REFUSED.iter().map(|&name| name.to_owned()))
            .collect();
        Self { refused }
    }

    /// Checks one statement's text (for an insert, without its data).
    pub(crate) fn check(&self, sql: &str, access: Access) -> Result<(), Refusal> {
        let text = sql.as_bytes();
        let all = tokens(text).map_err(|error| Refusal(format!("the statement is refused: {error}")))?;
        for (index, token) in all.iter().enumerate() {
            let next = all.get(index + 1);
            if next.is_some_and(|next| next.is_mark(b'(')) {
                self.check_call(token, text)?;
            }
            check_files(token, next, text)?;
            if token.is_word(text, "SETTINGS") || token.is_word(text, "SETTING") {
                check_settings_clause(&all[index + 1..], text, access)?;
            }
        }
        if access == Access::Writer && !is_read(&all, text) {
            check_definition(&all, text)?;
        }
        Ok(())
    }

    fn check_call(&self, token: &Token, text: &[u8]) -> Result<(), Refusal> {
        if token.is_mark(b'}') {
            return Err(Refusal("a parameter may not name a function".to_owned()));
        }
        let Some(name) = token.name(text) else { return Ok(()) };
        if self.refused.contains(&name.to_ascii_lowercase()) {
            return Err(Refusal(format!("the function {name}() is refused: it reaches outside the database")));
        }
        Ok(())
    }
}

fn check_files(token: &Token, next: Option<&Token>, text: &[u8]) -> Result<(), Refusal> {
    let pair =
        |first: &str, second: &str| token.is_word(text, first) && next.is_some_and(|next| next.is_word(text, second));
    if pair("INTO", "OUTFILE") || pair("FROM", "INFILE") {
        return Err(Refusal("INTO OUTFILE and FROM INFILE are refused: they reach the host's files".to_owned()));
    }
    Ok(())
}

/// Every `name =` at the depth of a `SETTINGS` clause, up to the clause's end.
fn check_settings_clause(clause: &[Token], text: &[u8], access: Access) -> Result<(), Refusal> {
    let mut depth = 0_usize;
    for pair in clause.windows(2) {
        let [token, next] = pair else { break };
        match token.kind {
            Kind::Mark(b'(' | b'[' | b'{') => depth += 1,
            Kind::Mark(b')' | b']' | b'}') if depth == 0 => break,
            Kind::Mark(b')' | b']' | b'}') => depth -= 1,
            Kind::Word | Kind::QuotedName if depth == 0 && next.is_mark(b'=') => {
                if let Some(refusal) = token.name(text).and_then(|name| setting_refusal(&name, access)) {
                    return Err(refusal);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_read(all: &[Token], text: &[u8]) -> bool {
    const READS: &[&str] = &["SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK"];
    all.iter()
        .find(|token| !token.is_mark(b'('))
        .is_some_and(|first| READS.iter().any(|word| first.is_word(text, word)))
}

/// What a statement that defines something may say.
fn check_definition(all: &[Token], text: &[u8]) -> Result<(), Refusal> {
    let leading = all.first();
    let defines = leading
        .is_some_and(|first| ["CREATE", "ATTACH", "REPLACE", "ALTER"].iter().any(|word| first.is_word(text, word)));
    if !defines {
        return Ok(());
    }
    // CREATE [OR REPLACE] DICTIONARY: a dictionary's source may be a file, a program or another machine.
    if all.iter().take(4).any(|token| token.is_word(text, "DICTIONARY")) {
        return Err(Refusal("dictionaries are refused: their sources reach outside the database".to_owned()));
    }
    let mut depth = 0_usize;
    for (index, token) in all.iter().enumerate() {
        match token.kind {
            Kind::Mark(b'(') => depth += 1,
            Kind::Mark(b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        // An ENGINE clause never stands in brackets; there the word is a column.
        if depth > 0 || !token.is_word(text, "ENGINE") {
            continue;
        }
        let rest = &all[index + 1..];
        let named = rest.first().filter(|next| !next.is_mark(b'=')).or_else(|| rest.get(1));
        let Some(name) = named.and_then(|named| named.name(text)) else { continue };
        let lower = name.to_ascii_lowercase();
        let is_column =
            !rest.first().is_some_and(|next| next.is_mark(b'=')) && AFTER_A_COLUMN.contains(&lower.as_str());
        if !is_column && !SAFE_ENGINES.contains(&lower.as_str()) {
            return Err(Refusal(format!(
                "the table engine {name} is refused: it is not one that stays in the database"
            )));
        }
    }
    Ok(())
}

/// Whether this is exactly `CREATE DATABASE [IF NOT EXISTS] waybill [ENGINE = Atomic]`: the one statement about a
/// database as a whole that the writer may send.
pub(crate) fn creates_own_database(sql: &str, database: &str) -> bool {
    let text = sql.as_bytes();
    let Ok(all) = tokens(text) else { return false };
    let words: Vec<String> = all
        .iter()
        .map(|t| t.name(text).map_or_else(|| String::from_utf8_lossy(t.raw(text)).into_owned(), Into::into))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let is = |range: std::ops::Range<usize>, want: &[&str]| {
        words.get(range).is_some_and(|have| {
            have.len() == want.len() && have.iter().zip(want).all(|(have, want)| have.eq_ignore_ascii_case(want))
        })
    };
    if !is(0..2, &["create", "database"]) {
        return false;
    }
    let at = if is(2..5, &["if", "not", "exists"]) { 5 } else { 2 };
    let Some(name) = words.get(at) else { return false };
    let rest = words.get(at + 1..).unwrap_or_default();
    let rest = rest.strip_suffix(&[";"]).unwrap_or(rest);
    let plain = rest.is_empty() || (rest.len() == 3 && rest.join(" ").eq_ignore_ascii_case("engine = atomic"));
    *name == database && plain
}

#[cfg(test)]
mod tests;
