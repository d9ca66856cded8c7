//! What the targets share: the carriers, and reading an answer with those of one shape.

use std::sync::{Arc, LazyLock};

use waybill_adapters::{Adapter, Answer, Answers, Asked, Catalog, Reading, Shape, assess};

static CARRIERS: LazyLock<Vec<Arc<Adapter>>> =
    LazyLock::new(|| Catalog::embedded().expect("the embedded carriers load").all().cloned().collect());

/// Loads the carriers: their time is nobody's finding.
pub fn load() {
    assert!(!CARRIERS.is_empty());
}

/// Reads a body with the carriers that have a reader of this shape; explains it as well, now and then.
pub fn read(shape: Shape, body: &[u8], content_type: Option<&str>) {
    let answers = [Answer { content_type, ..Answer::saved("page", body) }];
    for adapter in CARRIERS.iter().filter(|adapter| adapter.reads(shape)) {
        let answers = Answers { number: Some("AB123456785DE"), list: &answers };
        let outcome = adapter.read(&answers);
        assert!(outcome.events.len() <= 1_000);
        assess(adapter, &outcome, None);
        let several = Reading { asked: Asked::Several, ..Reading::default() };
        adapter.read_with(&answers, several);
        if body.len() % 64 == 0 {
            adapter.explain(&answers, several);
        }
    }
}
