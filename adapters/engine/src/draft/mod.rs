//! Drafts an adapter from one saved answer: finds what repeats, guesses what each column is, and writes files that work on
//! that answer, with comments on what is to be checked. Pure: text in, texts out.

mod guess;
mod html;
mod roles;
mod trees;
mod write;

use waybill_schemas::CarrierSlug;

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
    /// The text is of no shape.
    #[error("the answer is neither HTML nor JSON nor XML")]
    Shape,
    /// Nothing in it looks like events.
    #[error(
        "nothing in the answer repeats and bears times or texts; save an answer with at least two events, as the carrier \
         sends it before any script has run"
    )]
    NoRows,
    /// A mistake in this module.
    #[error("the draft cannot be loaded: {0}")]
    Broken(#[from] AdapterError),
}

/// What repeats in an answer.
#[derive(Debug, Clone, Default)]
struct Candidate {
    /// The path of its rows.
    rows: String,
    /// The path of what is around them, for recognising the answer.
    around: Option<String>,
    /// A condition of rows that are headings, in YAML.
    skip: Option<String>,
    columns: Vec<Column>,
    count: usize,
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

/// Drafts the adapter of a carrier from an answer.
///
/// # Errors
/// [`DraftError`] says why not, and what to try.
pub fn draft(slug: &CarrierSlug, body: &[u8], wish: Wish<'_>) -> Result<Draft, DraftError> {
    let stated = wish.content_type.and_then(charset::of_content_type);
    let charset = Charset::default();
    let (text, forced) = match charset.decode(body, stated) {
        Ok(text) => (text, None),
        Err(wrong) => {
            let name = guess::charset(body).ok_or(DraftError::Charset(wrong.0))?;
            let encoding = encoding_rs::Encoding::for_label(name.as_bytes()).ok_or(DraftError::Shape)?;
            (encoding.decode(body).0.into_owned(), Some(name))
        }
    };
    let (shape, candidates, languages) = shape_of(&text)?;
    let best = roles::best(candidates, &languages).ok_or(DraftError::NoRows)?;
    let languages = best.languages(&languages);
    let parts = write::Parts { slug, shape, wish, charset: forced, languages: &languages, root: root(shape, &text) };
    let adapter = write::adapter(&parts, &best);
    let phrases = catalog::embedded_phrases()?;
    let compile = |mapping: &str| {
        let files = Files { folder: slug.as_str(), adapter: &adapter, mapping };
        Adapter::compile(slug.clone(), &files, &phrases)
    };
    let bare = compile("format: 1\n")?;
    let answers = [Answer { content_type: wish.content_type, ..Answer::saved("page", body) }];
    let reads = bare.read(&Answers { number: wish.number, list: &answers });
    let mapping = write::mapping(&bare, &reads);
    let unmatched = write::texts(&bare, &reads).into_iter().filter(|(_, rule)| rule.is_none()).map(|(text, _)| text);
    let unmatched = unmatched.collect();
    compile(&mapping)?;
    let answer_file = match shape {
        Shape::Html => "page.html",
        Shape::Json => "page.json",
        Shape::Xml => "page.xml",
    };
    Ok(Draft { adapter, mapping, answer_file, reads, unmatched })
}

fn shape_of(text: &str) -> Result<(Shape, Vec<Candidate>, Vec<String>), DraftError> {
    if guard::plausible(Shape::Json, text)
        && let Some(value) = guard::json(text)
    {
        return Ok((Shape::Json, trees::of_json(&value), Vec::new()));
    }
    if guard::plausible(Shape::Xml, text)
        && let Some(document) = guard::xml_document(text)
    {
        return Ok((Shape::Xml, trees::of_xml(document.root_element()), Vec::new()));
    }
    if !text.contains('<') {
        return Err(DraftError::Shape);
    }
    let document = Document::parse(text).ok_or(DraftError::Shape)?;
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
