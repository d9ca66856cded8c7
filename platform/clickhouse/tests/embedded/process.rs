//! The child's start and end: what hinders a start is said, and nobody outlives whom it serves.

use waybill_clickhouse::embedded::{EmbeddedClickHouse, PASSWORD_FILE};

use crate::support::{config, no_library, start, stop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hinders_a_start_is_said_in_one_sentence() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sentence = async |config| {
        let error = EmbeddedClickHouse::start(config).await.expect_err("it must not start").to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut busy = config(&folder.path().join("a"));
    busy.listen = taken.local_addr().unwrap();
    assert!(sentence(busy).await.contains("choose another port"));

    let mut open = config(&folder.path().join("a"));
    open.listen = "0.0.0.0:0".parse().unwrap();
    assert!(sentence(open).await.contains("loopback only"));

    let mut lost = config(&folder.path().join("a"));
    lost.library = Some("/nonexistent/lib.so".into());
    assert!(sentence(lost).await.contains("scripts/fetch-chdb.sh"));

    let mut broken = config(&folder.path().join("a"));
    let library = folder.path().join("not-a-library.so");
    std::fs::write(&library, "text").unwrap();
    broken.library = Some(library);
    assert!(sentence(broken).await.contains("cannot be loaded"));

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(sentence(config(&file.join("below"))).await.contains("cannot be used"));

    let missing = folder.path().join("no-program");
    let mut nowhere = config(&folder.path().join("a"));
    nowhere.program = missing;
    assert!(sentence(nowhere).await.contains("cannot be started"));

    let store = start(&folder.path().join("b")).await;
    assert!(sentence(config(&folder.path().join("b"))).await.contains("in use by another process"));
    stop(store).await;
    // After a stop the folder is free, the password is the same and what was stored is there.
    let password = std::fs::read_to_string(folder.path().join("b").join(PASSWORD_FILE)).unwrap();
    let store = start(&folder.path().join("b")).await;
    assert_eq!(store.writer().password, password);
    stop(store).await;
}

/// The lines of a child that was started by hand: its handshake.
fn first_line(child: &mut std::process::Child) -> String {
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    line
}

#[test]
fn the_child_ends_when_its_life_line_does() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_waybill-clickhouse-child"))
        .args(["--data-dir", folder.path().to_str().unwrap(), "--listen", "127.0.0.1:0"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert!(first_line(&mut child).contains("ready"));
    // It is killed with the thread that started it, so this thread waits for it; here the life line is closed instead.
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success(), "an orderly end");
}
