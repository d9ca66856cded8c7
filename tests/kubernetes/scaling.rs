//! What autoscalers ask Prometheus for is what the services tell.

use std::{collections::BTreeSet, fs};

use crate::{EVERYTHING, ValuesFile, chart, no_helm, render, text};

#[test]
fn autoscalers_ask_for_figures_that_their_component_tells() {
    if no_helm() {
        return;
    }
    let everything = ValuesFile::new(EVERYTHING);
    let chart = render(&[everything.path()], &[]).unwrap();
    for (component, source, figure) in [
        ("store", "consumer.rs", "waybill_store_lag_records"),
        ("fetcher", "service.rs", "waybill_fetcher_saturation_ratio"),
    ] {
        let scaled = chart.object("ScaledObject", &format!("tracking-{component}")).unwrap();
        let query = text(&scaled["spec"]["triggers"][0]["metadata"]["query"]);
        let words = query.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
        let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("waybill_")).collect();
        assert_eq!(asked, [figure].into(), "{query}");
        // Of this release's pods only: another release's backlog is none of its business.
        assert!(query.contains(&format!("namespace=\"shop\",pod=~\"tracking-{component}-.+\"")), "{query}");
        let source = chart::root().join(format!("services/{component}/src/{source}"));
        let source = fs::read_to_string(source).unwrap();
        assert!(source.contains(&format!("gauge!(\"{figure}\"")), "the {component} does not tell {figure}");
    }
}
