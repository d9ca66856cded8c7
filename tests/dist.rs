//! The release, packed from this build's program as `make dist` packs it: unpacked anywhere, it works, and the same program
//! packs to the same bytes. Only the recipe's first line, cargo's build, is not run again: this test's own build made it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_waybill");

fn root() -> PathBuf {
    Path::new("../..").canonicalize().unwrap()
}

fn answer(command: &mut Command) -> String {
    let answer = command.output().unwrap();
    assert!(answer.status.success(), "{command:?}: {}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8(answer.stdout).unwrap()
}

/// What `make dist` runs for a profile, line by line, with this build's target folder.
fn recipe(profile: &str, out: &Path) -> Vec<String> {
    let target = Path::new(PROGRAM).parent().unwrap().parent().unwrap();
    let mut make = Command::new("make");
    make.args(["--dry-run", "--no-print-directory", "dist"]).arg(format!("PROFILE={profile}"));
    make.arg(format!("DIST={}", out.display())).env("CARGO_TARGET_DIR", target).current_dir(root());
    // A make around this test has nothing to say in it.
    let said = answer(make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("DIST").env_remove("PROFILE"));
    said.lines().map(str::to_owned).collect()
}

fn pack(out: &Path) -> PathBuf {
    let folder = Path::new(PROGRAM).parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let profile = if folder == "debug" { "dev" } else { &folder };
    let lines = recipe(profile, out);
    let [build, packing] = &lines[..] else { panic!("the recipe has other lines: {lines:?}") };
    assert_eq!(*build, format!("cargo build --locked --profile {profile} -p waybill"));
    assert!(packing.contains(PROGRAM), "{packing}: it packs what was built");
    let said = answer(Command::new("bash").args(["-euo", "pipefail", "-c", packing]).current_dir(root()));
    PathBuf::from(said.trim())
}

#[test]
fn without_a_word_a_release_is_built_for_speed() {
    let lines = recipe("release", Path::new("dist"));
    assert_eq!(lines[0], "cargo build --locked --profile release -p waybill");
    assert!(lines[1].ends_with("/release/waybill dist"), "{lines:?}");
    assert!(fs::read_to_string(root().join("Makefile")).unwrap().contains("\nPROFILE ?= release\n"));
}

#[test]
fn a_release_is_whole_runs_where_it_is_unpacked_and_packs_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (pack(&dir.path().join("one")), pack(&dir.path().join("two")));
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap(), "two packings of one program differ");
    answer(
        Command::new("sha256sum")
            .arg("--check")
            .arg(one.with_extension("gz.sha256"))
            .current_dir(one.parent().unwrap()),
    );

    let unpacked = dir.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    answer(Command::new("tar").arg("-xzf").arg(&one).arg("-C").arg(&unpacked));
    let version = env!("CARGO_PKG_VERSION");
    let mut entries = fs::read_dir(&unpacked).unwrap();
    let home = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none(), "everything is in one folder");
    let name = home.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with(&format!("waybill-{version}-")), "{name}");
    let there: BTreeSet<String> =
        fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    let wanted = ["CHANGELOG.md", "LICENSE", "README.md", "chart", "examples", "schemas", "waybill"].map(str::to_owned);
    assert_eq!(there, wanted.into());

    // In an empty folder, with nothing of this checkout in the environment.
    let run = |args: &[&str]| {
        let mut command = Command::new(home.join("waybill"));
        answer(command.args(args).env_clear().current_dir(&unpacked))
    };
    assert_eq!(run(&["--version"]).trim(), format!("waybill {version}"));
    let carriers = run(&["adapter", "list"]);
    let folders = fs::read_dir(root().join("adapters/carriers")).unwrap().count();
    assert!(carriers.lines().count() > folders / 2 && carriers.contains("sandbox"), "adapters are inside: {carriers}");
    let readme = fs::read_to_string(home.join("README.md")).unwrap();
    assert!(readme.contains("npm pack '@chdb/"), "it says where the embedded ClickHouse comes from:\n{readme}");
    assert!(home.join("chart/Chart.yaml").is_file() && home.join("examples/values-three-carriers.yaml").is_file());
    // Who reads the topics finds what they hold, and every file that the examples need.
    assert!(home.join("schemas/asyncapi.json").is_file());
    let folders =
        ["examples/consumers", "examples/consumers/python", "examples/consumers/node", "examples/consumers/java"];
    for folder in folders.into_iter().chain(["schemas/json", "schemas/topics"]) {
        let files = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        // What was fetched for the examples lies in folders of its own.
        for file in files.filter(|path| path.is_file()) {
            assert!(home.join(folder).join(file.file_name().unwrap()).is_file(), "{} is missing", file.display());
        }
    }
}
