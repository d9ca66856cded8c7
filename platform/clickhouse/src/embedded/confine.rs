//! The kernel's own wall around the embedded store: Landlock, where the kernel has it.
//!
//! The gate reads statements and could be mistaken about one; this wall does not read. After it stands, the calling
//! thread and every thread it starts may open files only in the engine's folder (and read the few that an ordinary
//! program needs), run no program and open no outgoing TCP connection. Kernels without it lose this wall only.

use std::path::Path;

/// What may be read besides the engine's folder: time zones, system libraries, the machine's sizes. Of `/proc` only
/// this process and facts about the machine: other processes' environments hold secrets.
#[cfg(target_os = "linux")]
const READABLE: &[&str] = &[
    "/dev",
    "/etc/localtime",
    "/etc/timezone",
    "/lib",
    "/lib64",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
    "/sys",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
];

/// Confines the calling thread and its future children; call it before any thread that must be inside exists.
/// Returns whether the kernel enforces it.
#[cfg(target_os = "linux")]
pub(super) fn confine(folder: &Path, library: &Path) -> bool {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
        RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, path_beneath_rules,
    };
    let abi = ABI::V5;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let attempt = || -> Result<RulesetStatus, RulesetError> {
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::ConnectTcp)?
            .create()?
            .add_rules(path_beneath_rules(READABLE, read))?
            .add_rules(path_beneath_rules([library], AccessFs::ReadFile | AccessFs::Execute))?
            .add_rules(path_beneath_rules([folder], AccessFs::from_all(abi) & !AccessFs::Execute))?;
        let rules = match PathFd::new("/dev/null") {
            Ok(null) => rules.add_rule(PathBeneath::new(null, AccessFs::ReadFile | AccessFs::WriteFile))?,
            Err(_) => rules,
        };
        Ok(rules.restrict_self()?.ruleset)
    };
    matches!(attempt(), Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced))
}

/// Other systems have no such wall.
#[cfg(not(target_os = "linux"))]
pub(super) fn confine(_folder: &Path, _library: &Path) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::print_stderr,
        reason = "a test may stop at the first surprise and says what it skips"
    )]
    use super::*;
    use std::fs;
    use std::io::ErrorKind;

    #[test]
    fn sec_1_a_confined_thread_reaches_its_folder_and_nothing_else() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = outside.path().join("secret");
        fs::write(&secret, "x").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // The wall is the thread's own: the test's process stays free.
        let thread = std::thread::spawn(move || {
            if !confine(inside.path(), Path::new("/nonexistent")) {
                eprintln!("skipped: this kernel has no Landlock");
                return;
            }
            fs::create_dir(inside.path().join("a")).unwrap();
            fs::write(inside.path().join("a/b"), "x").unwrap();
            fs::rename(inside.path().join("a/b"), inside.path().join("c")).unwrap();
            let denied = |outcome: std::io::Result<()>| outcome.unwrap_err().kind() == ErrorKind::PermissionDenied;
            assert!(denied(fs::read(&secret).map(drop)));
            assert!(denied(fs::read("/etc/passwd").map(drop)));
            assert!(denied(fs::read(format!("/proc/{}/environ", std::os::unix::process::parent_id())).map(drop)));
            assert!(denied(fs::write(&secret, "y")));
            assert!(denied(fs::remove_file(&secret)));
            assert!(denied(std::process::Command::new("/bin/true").status().map(drop)));
            assert!(denied(std::net::TcpStream::connect(address).map(drop)));
        });
        thread.join().unwrap();
        assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"x");
    }
}
