//! The release, packed from this build's program: unpacked anywhere, it works, and the same program packs to the same bytes.
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

fn pack(out: &Path) -> PathBuf {
    let said = answer(Command::new(root().join("scripts/dist.sh")).arg(PROGRAM).arg(out));
    PathBuf::from(said.trim())
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
    let wanted = ["CHANGELOG.md", "LICENSE", "README.md", "chart", "examples", "waybill"].map(str::to_owned);
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
}
