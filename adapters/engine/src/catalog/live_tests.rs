#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
use super::*;

const NOW: WallMs = WallMs::new(1_700_000_000_000);

const ADAPTER: &str = "format: 1
name: Acme Parcels
basis: page
languages: [en]
budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60, basis: assumed}
hosts: [acme.example]
sources:
  - name: page
    kind: page
    steps: [{name: page, get: 'https://acme.example/{number}'}]
readers:
  - name: table
    shape: html
    accept: {has: table}
    times: {formats: ['%d/%m/%Y']}
    tables: [{rows: tr, time: {cell: 1}, text: {cell: 2}}]
";
const MAPPING: &str = "format: 1\nexact: {Collected: InTransit_PickedUp}\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, slug: &str, adapter: &str, mapping: &str) {
        let folder = self.0.path().join(slug);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("adapter.yaml"), adapter).unwrap();
        fs::write(folder.join("mapping.yaml"), mapping).unwrap();
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.0.path().to_owned()]
    }
}

fn slug(text: &str) -> CarrierSlug {
    text.parse().unwrap()
}

fn reload(live: &LiveCatalog, folder: &Folder) -> Reloaded {
    live.reload(&Catalog::default(), (&folder.paths(), &BTreeMap::new()), |_| Ok(()), NOW)
}

#[test]
fn a_new_version_is_taken_and_the_former_can_still_be_asked_for() {
    let folder = Folder::new();
    folder.write("acme", ADAPTER, MAPPING);
    let live = LiveCatalog::default();
    assert_eq!(reload(&live, &folder).exchanged.len(), 1);
    let old = live.get(&slug("acme")).unwrap();
    assert_eq!(reload(&live, &folder), Reloaded::default(), "nothing changed");
    assert!(Arc::ptr_eq(&old, &live.get(&slug("acme")).unwrap()), "what did not change stays the very same");

    folder.write("acme", &ADAPTER.replace("Acme Parcels", "Acme"), MAPPING);
    let held = live.now();
    let changed = reload(&live, &folder).exchanged;
    let new = live.get(&slug("acme")).unwrap();
    assert_eq!(changed[0].from.as_deref(), Some(old.version.as_str()));
    assert_eq!(changed[0].to.as_deref(), Some(new.version.as_str()));
    assert_eq!((old.name.as_str(), new.name.as_str()), ("Acme Parcels", "Acme"));
    assert!(Arc::ptr_eq(&held.catalog.get(&slug("acme")).unwrap(), &old), "whoever holds a generation keeps it");
    assert!(Arc::ptr_eq(&live.version(&slug("acme"), &old.version).unwrap(), &old));
    assert_eq!(live.version(&slug("acme"), "0").map(|adapter| adapter.version.clone()), None);
}

#[test]
fn versions_are_digests_of_the_content() {
    let folder = Folder::new();
    folder.write("acme", ADAPTER, MAPPING);
    let live = LiveCatalog::default();
    let _ = reload(&live, &folder);
    let first = live.get(&slug("acme")).unwrap();
    folder.write("acme", ADAPTER, "format: 1\nexact: {Collected: InTransit_Other}\n");
    let _ = reload(&live, &folder);
    let second = live.get(&slug("acme")).unwrap();
    assert_ne!((&first.version, &first.mapping.version), (&second.version, &second.mapping.version));
    folder.write("acme", ADAPTER, MAPPING);
    let _ = reload(&live, &folder);
    assert_eq!(live.get(&slug("acme")).unwrap().version, first.version);
}

#[test]
fn a_broken_version_is_refused_with_its_place_and_the_others_are_taken() {
    let folder = Folder::new();
    folder.write("acme", ADAPTER, MAPPING);
    folder.write("other", ADAPTER, MAPPING);
    let live = LiveCatalog::default();
    let _ = reload(&live, &folder);
    let old = live.get(&slug("acme")).unwrap();

    folder.write("acme", &ADAPTER.replace("basis: page", "bassis: page"), MAPPING);
    folder.write("other", &ADAPTER.replace("Acme Parcels", "Other"), MAPPING);
    let reloaded = reload(&live, &folder);
    assert_eq!(reloaded.exchanged.len(), 1);
    assert_eq!(live.get(&slug("other")).unwrap().name, "Other");
    assert!(Arc::ptr_eq(&live.get(&slug("acme")).unwrap(), &old));
    let refused = live.now().refused["acme"].clone();
    assert_eq!(reloaded.refused, vec![refused.error.clone()]);
    assert!(refused.error.file.ends_with("adapter.yaml"), "{}", refused.error);
    assert_eq!(refused.error.line, Some(3), "{}", refused.error);
    // It is told once, and stays visible until it is mended.
    assert_eq!(reload(&live, &folder).refused, vec![]);
    assert!(live.now().refused.contains_key("acme"));
    folder.write("acme", ADAPTER, MAPPING);
    let _ = reload(&live, &folder);
    assert!(live.now().refused.is_empty());
}

#[test]
fn what_may_not_be_in_force_is_refused_in_the_callers_words() {
    let folder = Folder::new();
    folder.write("acme", ADAPTER, MAPPING);
    let live = LiveCatalog::default();
    let no = |_: &Adapter| Err("spends another budget".to_owned());
    let reloaded = live.reload(&Catalog::default(), (&folder.paths(), &BTreeMap::new()), no, NOW);
    assert!(reloaded.refused[0].to_string().contains("spends another budget"));
    assert!(live.get(&slug("acme")).is_none());
}

#[test]
fn a_folder_that_goes_gives_the_carrier_back_to_the_program() {
    let folder = Folder::new();
    folder.write("acme", ADAPTER, MAPPING);
    let base = Catalog::of_folder(folder.0.path()).unwrap();
    let over = Folder::new();
    over.write("acme", &ADAPTER.replace("Acme Parcels", "Ours"), MAPPING);
    let live = LiveCatalog::from(base.clone());
    let candidates = BTreeMap::new();
    let _ = live.reload(&base, (&over.paths(), &candidates), |_| Ok(()), NOW);
    assert_eq!(live.get(&slug("acme")).unwrap().name, "Ours");
    fs::remove_dir_all(over.0.path().join("acme")).unwrap();
    let _ = live.reload(&base, (&over.paths(), &candidates), |_| Ok(()), NOW);
    assert_eq!(live.get(&slug("acme")).unwrap().name, "Acme Parcels");
    // A folder that cannot be read at all takes nothing away.
    let _ = over.0.close();
}

#[test]
fn a_candidate_is_not_in_force_and_can_be_asked_for_by_its_version() {
    let folder = Folder::new();
    folder.write("acme", ADAPTER, MAPPING);
    let candidate = Folder::new();
    candidate.write("acme", &ADAPTER.replace("Acme Parcels", "Acme 2"), MAPPING);
    let live = LiveCatalog::default();
    let candidates = BTreeMap::from([(slug("acme"), candidate.0.path().to_owned())]);
    let reloaded = live.reload(&Catalog::default(), (&folder.paths(), &candidates), |_| Ok(()), NOW);
    assert_eq!(reloaded.exchanged.iter().filter(|change| change.candidate).count(), 1);
    let tried = live.now().candidates[&slug("acme")].clone();
    assert_eq!((live.get(&slug("acme")).unwrap().name.as_str(), tried.name.as_str()), ("Acme Parcels", "Acme 2"));
    assert!(Arc::ptr_eq(&live.version(&slug("acme"), &tried.version).unwrap(), &tried));
}
