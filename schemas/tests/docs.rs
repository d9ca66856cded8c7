//! The documents tell the truth: topics, promises, paths and targets that they name exist.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use waybill_schemas::topics;

fn root() -> PathBuf {
    PathBuf::from("..")
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect(name)
}

const DOCUMENTS: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "adapters/README.md",
    "helm/waybill/README.md",
    "examples/consumers/README.md",
];

/// Where code lies. Beside it somebody's process may keep its data just now, files that come and go.
const CODE: [&str; 6] = ["adapters", "loadtest", "platform", "schemas", "services", "tests"];

/// What stands between back-ticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|part| !part.contains('\n'))
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if entry.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&entry, found);
        } else if name.ends_with(".rs") {
            found.push(fs::read_to_string(&entry).unwrap());
        }
    }
}

#[test]
fn topics_in_documents_exist() {
    let known: BTreeSet<&str> = topics::all().iter().map(|spec| spec.name.as_str()).collect();
    for name in DOCUMENTS {
        let text = document(name);
        let tables = ["waybill.v_", "waybill.yaml", "waybill.transit_times"];
        for token in quoted(&text).filter(|token| token.starts_with("waybill.") && !token.contains(' ')) {
            let is_table = tables.iter().any(|table| token.starts_with(table));
            assert!(is_table || known.contains(token), "{name} names the topic {token}, which is none");
        }
    }
}

#[test]
fn every_promise_of_the_architecture_has_a_test_that_bears_its_id_and_a_comment_where_it_is_kept() {
    let mut all = Vec::new();
    CODE.iter().for_each(|folder| sources(&root().join(folder), &mut all));
    let text = document("ARCHITECTURE.md");
    let ids: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .filter(|id| id.len() == 5 && id.as_bytes()[3] == b'-')
        .collect();
    assert_eq!(ids.len(), 13, "{ids:?}");
    for id in ids {
        let name = format!("{}_", id.to_lowercase().replace('-', "_"));
        let tested = all.iter().any(|source| source.lines().any(|line| line.contains("fn ") && line.contains(&name)));
        assert!(tested, "no test bears the name {name}…");
        assert!(all.iter().any(|source| source.contains(id)), "no comment names {id}");
    }
}

#[test]
fn paths_and_targets_in_documents_exist() {
    let makefile = document("Makefile");
    for name in DOCUMENTS {
        let text = document(name);
        for token in quoted(&text) {
            if let Some(target) = token.strip_prefix("make ").and_then(|rest| rest.split(' ').next()) {
                assert!(makefile.contains(&format!("\n{target}:")), "{name} names `make {target}`, which is no target");
            }
            let is_path =
                token.contains('/') && !token.contains([' ', '<', '{', '*', ':', '=']) && !token.starts_with('/');
            if is_path
                && ["services/", "platform/", "adapters/", "schemas/", "tests/", "loadtest/", "helm/", "examples/"]
                    .iter()
                    .any(|top| token.starts_with(top))
            {
                assert!(root().join(token).exists(), "{name} names {token}, which is not there");
            }
        }
    }
}

/// What a reader has to understand: no blank lines, comments, imports or closing brackets.
fn is_code(line: &str) -> bool {
    let aside = ["//", "#", "\"\"\"", "import ", "from "];
    line.contains(char::is_alphanumeric) && !aside.iter().any(|start| line.starts_with(start))
}

#[test]
fn an_example_consumer_is_at_most_twenty_lines_of_code() {
    for name in ["python/consume.py", "node/consume.mjs", "java/Consume.java"] {
        let source = document(&format!("examples/consumers/{name}"));
        let lines = source.lines().filter(|line| is_code(line.trim())).count();
        assert!((10..=20).contains(&lines), "{name}: {lines} lines of code");
        let widest = source.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "{name}: a line of {widest:?} characters");
    }
}

#[test]
fn make_alone_lists_every_target_with_a_line() {
    let makefile = document("Makefile");
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).expect("the targets");
    // Not as a part of the make that runs this test.
    let make = Command::new("make").current_dir(root()).env_remove("MAKEFLAGS").env_remove("MAKELEVEL").output();
    let listed = String::from_utf8(make.expect("make runs").stdout).unwrap();
    let told = |target: &str| {
        let mut lines = listed.lines().filter_map(|line| line.trim_start().strip_prefix("make ")?.strip_prefix(target));
        lines.any(|what| what.starts_with(' ') && what.trim().len() > 5)
    };
    let missing: Vec<&str> = targets.split(' ').filter(|target| !told(target)).collect();
    assert!(missing.is_empty(), "make does not list {missing:?}:\n{listed}");
}
