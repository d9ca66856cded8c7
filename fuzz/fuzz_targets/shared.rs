//! What the targets share: the carriers, and reading an answer with those of one shape.

use std::sync::{Arc, LazyLock};

use waybill_adapters::{Adapter, Answer, Answers, Asked, Catalog, Reading, Shape, assess};

static CARRIERS: LazyLock<Vec<Arc<Adapter>>> =
    LazyLock::new(|| Catalog::embedded().expect("the embedded carriers load").all().cloned().collect());

/// Loads the carriers: their time is nobody's finding.
pub fn load() {
    assert!(!CARRIERS.is_empty());
}

/// Reads a body with the carrier that `which` says, or the next that has a reader of this shape; explains it as well, now
/// and then. One carrier a unit: many units a second find more than many carriers a unit.
pub fn read(shape: Shape, which: u8, body: &[u8], content_type: Option<&str>) {
    let answers = [Answer { content_type, ..Answer::saved("page", body) }];
    let from = usize::from(which) % CARRIERS.len();
    let mut all = CARRIERS[from..].iter().chain(&CARRIERS[..from]);
    let Some(adapter) = all.find(|adapter| adapter.reads(shape)) else { return };
    let answers = Answers { number: Some("AB123456785DE"), list: &answers };
    let outcome = adapter.read(&answers);
    assert!(outcome.events.len() <= 1_000);
    assess(adapter, &outcome, None);
    let several = Reading { asked: Asked::Several, ..Reading::default() };
    adapter.read_with(&answers, several);
    if body.len() % 16 == 0 {
        adapter.explain(&answers, several);
    }
}
