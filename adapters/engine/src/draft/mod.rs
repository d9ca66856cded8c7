//! Drafts an adapter from one saved answer: finds what repeats, guesses what each column is, and writes files that work on
//! that answer, with comments on what is to be checked. Pure: text in, texts out.

mod charsets;
mod dates;
mod guess;
mod html;
mod roles;
#[cfg(test)]
mod tests;
mod trees;
mod weekdays;
mod wrapped;
mod write;

use waybill_schemas::CarrierSlug;

use self::roles::{Events, Untimed};
use crate::{
    adapter::{Adapter, Files},
    answer::{Answer, Answers, ReadOutcome},
    catalog,
    charset::{self, Charset},
    error::AdapterError,
    guard,
    html::Document,
    spec::Shape,
};

/// What is known beside the answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// The carrier's name for people; the slug without it.
    pub name: Option<&'a str>,
    /// Where the answer came from.
    pub url: Option<&'a str>,
    /// The number that was asked for, as typed.
    pub number: Option<&'a str>,
    /// Its `Content-Type`.
    pub content_type: Option<&'a str>,
}

/// A drafted adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// `adapter.yaml`.
    pub adapter: String,
    /// `mapping.yaml`.
    pub mapping: String,
    /// The name of the answer's file in an example.
    pub answer_file: &'static str,
    /// What the draft reads from the answer.
    pub reads: ReadOutcome,
    /// Texts that neither the mapping nor the phrase tables know.
    pub unmatched: Vec<String>,
}

/// Why nothing could be drafted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The bytes are no text.
    #[error("the answer is not valid {0}; name its content type with the charset it is in")]
    Charset(&'static str),
    /// There is nothing.
    #[error("the answer is empty; save it once more, where the carrier shows events")]
    Empty,
    /// The bytes are packed.
    #[error("the answer is compressed; save it unpacked, with curl by its option --compressed")]
    Compressed,
    /// The text is of no shape.
    #[error("the answer is neither HTML nor JSON nor XML")]
    Shape,
    /// It is of a shape, and no reader would take it.
    #[error("{0}; save the whole answer to one number")]
    Refused(String),
    /// Nothing in it looks like events.
    #[error(
        "nothing in the answer repeats and bears times or texts; save an answer with at least two events, as the carrier \
         sends it before any script has run"
    )]
    NoRows,
    /// Rows repeat, and nothing in them was understood as a time.
    #[error(
        "{count} rows repeat at {rows}, but no column of theirs reads as a time; {column} holds, for one, {value:?}: if that is \
         the time, write adapter.yaml by hand and its format under times"
    )]
    NoTimes {
        /// Their path.
        rows: String,
        /// How many there are.
        count: usize,
        /// The column that may be the time.
        column: String,
        /// One of its values.
        value: String,
    },
    /// A mistake in this module.
    #[error("the draft cannot be loaded: {0}")]
    Broken(#[from] AdapterError),
}

/// What repeats in an answer.
#[derive(Debug, Clone, Default)]
struct Candidate {
    /// The path of groups around the rows.
    each: Option<String>,
    /// The path of its rows, within the group.
    rows: String,
    /// Which of the rows are headings of those below.
    heading: Option<String>,
    /// The path of what is around them, for recognising the answer.
    around: Option<String>,
    /// A condition of rows that are headings, in YAML.
    skip: Option<String>,
    columns: Vec<Column>,
    count: usize,
    /// What the rows of several shipments are told apart by.
    scope: Option<Scope>,
}

/// Several shipments in one answer, each with rows of its own.
#[derive(Debug, Clone)]
struct Scope {
    /// The path of the shipments.
    each: String,
    /// How many there are.
    count: usize,
    /// The field of one of them that holds the number asked for.
    number: Option<String>,
}

/// A column of what repeats.
#[derive(Debug, Clone, Default)]
struct Column {
    /// The field in YAML.
    field: String,
    /// What the page calls it: a heading, a key, a class.
    hint: String,
    /// Its texts, row by row; blank ones are empty.
    texts: Vec<String>,
}

/// What gzip, Zstandard and ZIP begin with.
const PACKED: [&[u8]; 3] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"];

/// Elements that pages and parts of pages begin with; XML of these names is XHTML.
const OF_PAGES: [&str; 12] =
    ["html", "body", "div", "table", "tbody", "ul", "ol", "dl", "section", "article", "main", "span"];

/// Drafts the adapter of a carrier from an answer.
///
/// # Errors
/// [`DraftError`] says why not, and what to try.
pub fn draft(slug: &CarrierSlug, body: &[u8], wish: Wish<'_>) -> Result<Draft, DraftError> {
    if body.trim_ascii().is_empty() {
        return Err(DraftError::Empty);
    }
    if PACKED.iter().any(|magic| body.starts_with(magic)) {
        return Err(DraftError::Compressed);
    }
    let stated = wish.content_type.and_then(charset::of_content_type);
    let charset = Charset::default();
    let (text, known) = match charset.decode(body, stated) {
        // What is saved and shown again comes without the header.
        Ok(text) if charset.decode(body, None).is_err() => {
            let name = charset.name_for(body, stated).to_ascii_lowercase();
            (text, Some((name, "as the content type says; the answer itself declares none")))
        }
        Ok(text) => (text, None),
        Err(wrong) => {
            let name = charsets::charset(body).ok_or(DraftError::Charset(wrong.0))?;
            let encoding = encoding_rs::Encoding::for_label(name.as_bytes()).ok_or(DraftError::Shape)?;
            (encoding.decode(body).0.into_owned(), Some((name.to_owned(), "guessed, the answer declares none")))
        }
    };
    let Found { shape, events: best, languages, unwrap, text: inner, outer } = find(&text, wish.number)?;
    let mut languages = best.languages(&languages);
    let root = root(shape, &inner);
    let written = |languages: &[String]| {
        let (charset, root) = (known.clone(), root.clone());
        write::adapter(&write::Parts { slug, shape, wish, unwrap: &unwrap, charset, languages, root }, &best)
    };
    let mut adapter = written(&languages);
    let phrases = catalog::embedded_phrases()?;
    let compile = |adapter: &str, mapping: &str| {
        let files = Files { folder: slug.as_str(), adapter, mapping };
        Adapter::compile(slug.clone(), &files, &phrases).map_err(catalog::first)
    };
    let mut bare = compile(&adapter, "format: 1\n")?;
    let answers = [Answer { content_type: wish.content_type, ..Answer::saved("page", body) }];
    let asked = Answers { number: wish.number, list: &answers };
    let mut reads = bare.read(&asked);
    // The language whose phrases know more of the texts than those that the answer tells by itself.
    let (mut spoken, mut most) = (None, known_texts(&bare, &reads));
    if most < write::texts(&bare, &reads).len() {
        for language in phrases.keys() {
            let other = compile(&adapter, &format!("format: 1\nphrases: ['{language}']\n"))?;
            let count = known_texts(&other, &reads);
            if count > most {
                (spoken, most) = (Some(language.clone()), count);
            }
        }
    }
    if let Some(spoken) = spoken {
        languages.retain(|language| *language != spoken);
        languages.insert(0, spoken);
        adapter = written(&languages);
        bare = compile(&adapter, "format: 1\n")?;
        reads = bare.read(&asked);
    }
    if reads.events.is_empty() {
        let why = reads.detail.unwrap_or_else(|| "the draft reads nothing of the answer".to_owned());
        return Err(DraftError::Refused(why));
    }
    let mapping = write::mapping(&bare, &reads);
    let unmatched = write::texts(&bare, &reads).into_iter().filter(|(_, rule)| rule.is_none()).map(|(text, _)| text);
    let unmatched = unmatched.collect();
    compile(&adapter, &mapping)?;
    let answer_file = match outer {
        Shape::Html => "page.html",
        Shape::Json => "page.json",
        Shape::Xml => "page.xml",
    };
    Ok(Draft { adapter, mapping, answer_file, reads, unmatched })
}

/// How many of the texts mean something.
fn known_texts(adapter: &Adapter, reads: &ReadOutcome) -> usize {
    write::texts(adapter, reads).iter().filter(|(_, rule)| rule.is_some()).count()
}

/// The events of an answer, and where they are.
struct Found {
    shape: Shape,
    events: Events,
    languages: Vec<String>,
    /// The stages to the document that they are in.
    unwrap: Vec<String>,
    /// That document.
    text: String,
    /// The shape of the answer itself.
    outer: Shape,
}

/// Looks for events in a text; where it has none of its own, also in the documents within it.
fn find(text: &str, number: Option<&str>) -> Result<Found, DraftError> {
    let (whole, refused) = match shape_of(text, number) {
        Ok(whole) => (Some(whole), None),
        Err(refused) => (None, Some(refused)),
    };
    let outer = whole.as_ref().map_or(Shape::Json, |(shape, ..)| *shape);
    let said = whole.as_ref().map(|(_, _, languages)| languages.clone()).unwrap_or_default();
    let mut best: Option<Found> = None;
    let mut untimed = None;
    let mut look =
        |(shape, candidates, languages): (Shape, Vec<Candidate>, Vec<String>), unwrap: Vec<String>, text: String| {
            let languages = if languages.is_empty() { said.clone() } else { languages };
            let all = roles::understood(candidates, &languages);
            if let Some(events) = roles::best(&all) {
                if best.as_ref().is_none_or(|best| events.score() > best.events.score()) {
                    best = Some(Found { shape, events: events.clone(), languages, unwrap, text, outer });
                }
            } else if untimed.is_none() {
                untimed = roles::untimed(&all);
            }
            best.as_ref().is_some_and(|best| best.events.is_whole())
        };
    let done = whole.is_some_and(|whole| look(whole, Vec::new(), text.to_owned()));
    if !done {
        for wrapped::Inner { unwrap, text } in wrapped::documents(text) {
            if let Ok(whole) = shape_of(&text, number) {
                look(whole, unwrap, text);
            }
        }
    }
    best.ok_or(match (untimed, refused) {
        (Some(Untimed { rows, count, column, value }), _) => DraftError::NoTimes { rows, count, column, value },
        (None, Some(refused)) => refused,
        (None, None) => DraftError::NoRows,
    })
}

fn shape_of(text: &str, number: Option<&str>) -> Result<(Shape, Vec<Candidate>, Vec<String>), DraftError> {
    if guard::plausible(Shape::Json, text)
        && let Some(value) = guard::json(text)
    {
        return Ok((Shape::Json, trees::of_json(&value, number), Vec::new()));
    }
    if guard::plausible(Shape::Xml, text)
        && let Some(document) = guard::xml_document(text)
        && !OF_PAGES.contains(&document.root_element().tag_name().name())
    {
        return Ok((Shape::Xml, trees::of_xml(document.root_element()), Vec::new()));
    }
    if !text.contains('<') {
        return Err(DraftError::Shape);
    }
    let refused = || guard::refusal(Shape::Html, text).map_or(DraftError::Shape, DraftError::Refused);
    let document = Document::parse(text).ok_or_else(refused)?;
    let said = document.root().attribute("lang").unwrap_or_default().to_lowercase();
    let language: String = said.chars().take_while(char::is_ascii_alphabetic).collect();
    let languages = if language.len() == 2 { vec![language] } else { Vec::new() };
    Ok((Shape::Html, html::of_document(&document), languages))
}

fn root(shape: Shape, text: &str) -> Option<String> {
    if shape != Shape::Xml {
        return None;
    }
    guard::xml_document(text).map(|document| document.root_element().tag_name().name().to_owned())
}
