//! Rubbish in, one clear sentence out, and nothing lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use serde_json::{Value, json};
use support::{PATIENCE, PROGRAM, Waybill, embedded_clickhouse, eventually};
use tokio::time::{Instant, sleep};
use waybill_schemas::limits::MAX_POST_BYTES;

fn waybill(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().expect("the program starts")
}

/// One sentence on standard error and a non-zero exit.
fn one_sentence(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(!output.status.success(), "a bad input must not succeed: {said}");
    let sentences: Vec<&str> = said.lines().filter(|line| line.starts_with("waybill: ")).collect();
    assert_eq!(sentences.len(), 1, "one sentence, not:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    sentences[0].to_owned()
}

/// A configuration with free ports, and an API whose port is taken for as long as the listener lives: a process gets as far
/// as its data directory and no further.
fn busy_api(dir: &Path) -> (PathBuf, TcpListener) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = json!({ "listen": "127.0.0.1:0" });
    let config = json!({
        "api": { "listen": taken.local_addr().unwrap() }, "admin": free, "clickhouse": free, "demo": { "parcels": 10 },
    });
    let file = dir.join("waybill.yaml");
    fs::write(&file, config.to_string()).unwrap();
    (file, taken)
}

#[test]
fn a_broken_adapter_file_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = dir.path().join("broken-post");
    fs::create_dir(&carrier).unwrap();
    fs::write(carrier.join("adapter.yaml"), "format: 1\nname: Broken Post\nsources: [\n").unwrap();
    fs::write(carrier.join("mapping.yaml"), "{}\n").unwrap();
    let folder = dir.path().to_str().unwrap();
    for args in [
        ["adapter", "list", "--adapters", folder].as_slice(),
        ["config", "check", "--adapters", folder].as_slice(),
        ["standalone", "--adapters", folder, "--data-dir", dir.path().join("data").to_str().unwrap()].as_slice(),
    ] {
        let said = one_sentence(&waybill(args));
        assert!(said.contains("broken-post") && said.contains("adapter.yaml"), "{said}");
    }
}

#[test]
fn configuration_and_arguments_that_make_no_sense_are_sentences() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("waybill.yaml");
    fs::write(&file, "api:\n  listn: 127.0.0.1:1\n").unwrap();
    let said = one_sentence(&waybill(&["config", "check", "--config", file.to_str().unwrap()]));
    assert!(said.contains("listn"), "{said}");
    let said = one_sentence(&waybill(&["config", "check", "--config", "/nowhere/waybill.yaml"]));
    assert!(said.contains("/nowhere/waybill.yaml"), "{said}");
    let said = one_sentence(&waybill(&["adapter", "parse", "--carrier", "no-such-carrier", "/dev/null"]));
    assert!(said.contains("no-such-carrier"), "{said}");
    let said = one_sentence(&waybill(&["adapter", "parse", "--carrier", "usps", "/nowhere/body.html"]));
    assert!(said.contains("/nowhere/body.html"), "{said}");
    let said =
        one_sentence(&waybill(&["topics", "tail", "waybill.nothing", "--data-dir", dir.path().to_str().unwrap()]));
    assert!(said.contains("waybill.nothing"), "{said}");
    for (text, expected) in [
        ("api: {listen: '0.0.0.0:0'}", "api.keys_file"),
        ("api: {keys_file: /nowhere/keys}", "/nowhere/keys"),
        ("api: {max_connections: 100, max_streams: 100}", "api.max_streams"),
        ("clickhouse: {listen: '0.0.0.0:0'}", "clickhouse.listen"),
        ("clickhouse: {url: 'clickhouse:8123'}", "clickhouse.url"),
        ("clickhouse: {password_file: /nowhere/password}", "/nowhere/password"),
        ("telemetry: {filter: 'a=b=c'}", "telemetry.filter"),
        ("store: {batch_rows: 0}", "store.batch_rows"),
        ("carriers: {usps: {budget: {rate_per_second: 0}}}", "carriers.usps.budget"),
        ("carriers: {usps: {source: pgae}}", "carriers.usps.source"),
    ] {
        fs::write(&file, text).unwrap();
        let said = one_sentence(&waybill(&["config", "check", "--config", file.to_str().unwrap()]));
        assert!(said.contains(expected), "{text}: {said}");
    }
    // A carrier whose folder may come later is told and hinders nothing.
    fs::write(&file, "carriers: {upss: {enabled: true}}").unwrap();
    let told = waybill(&["config", "check", "--config", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success() && said.contains("carriers.upss: no adapter"), "{said}");
    fs::write(&file, "api:\n  listen: 0.0.0.0:0\n").unwrap();
    let data = dir.path().join("data");
    let said = one_sentence(&waybill(&[
        "standalone",
        "--config",
        file.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ]));
    assert!(said.contains("api.keys_file"), "SEC-1: {said}");
    fs::write(&file, "clickhouse:\n  listen: 0.0.0.0:0\n").unwrap();
    let data = dir.path().join("never-made");
    let args = ["standalone", "--config", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let said = one_sentence(&waybill(&args));
    assert!(said.contains("clickhouse.listen") && said.contains("loopback"), "SEC-1: {said}");
    assert!(!data.exists(), "refused before anything is left behind");
}

#[test]
fn simulated_and_real_parcels_never_share_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (file, _taken) = busy_api(dir.path());
    let run = |args: &[&str], data: &Path| {
        let places = ["--config", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
        one_sentence(&waybill(&[args, &places].concat()))
    };
    let (demo, real) = (dir.path().join("demo"), dir.path().join("real"));
    // The first start, whatever becomes of it, says whose parcels a directory is for.
    for (args, data) in [(["standalone", "--demo"].as_slice(), &demo), (["standalone"].as_slice(), &real)] {
        let said = run(args, data);
        assert!(said.contains("api.listen"), "{said}");
    }
    let number = "SANDBOX-DELIVERED-0001";
    for args in [
        ["standalone"].as_slice(),
        &["track", number, "--carrier", "sandbox"],
        &["track", number, "--carrier", "aurora-post"],
        &["adapter", "run", number, "--carrier", "sandbox"],
    ] {
        let said = run(args, &demo);
        assert!(said.contains("simulated") && said.contains(demo.to_str().unwrap()), "{args:?}: {said}");
        assert!(said.contains("--data-dir"), "{args:?}: {said}");
    }
    let said = run(&["standalone", "--demo"], &real);
    assert!(said.contains("real parcels") && said.contains(real.to_str().unwrap()), "{said}");
    assert!(said.contains("--data-dir"), "{said}");
    // A directory named in the file is as good as the flag.
    let named = fs::read_to_string(&file).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&named).unwrap();
    config["data_dir"] = real.to_str().into();
    fs::write(&file, config.to_string()).unwrap();
    let said = one_sentence(&waybill(&["standalone", "--demo", "--config", file.to_str().unwrap()]));
    assert!(said.contains("real parcels") && said.contains(real.to_str().unwrap()), "{said}");
    config["demo"]["parcels"] = 11.into();
    fs::write(&file, config.to_string()).unwrap();
    let said = run(&["standalone", "--demo"], &demo);
    assert!(said.contains(demo.to_str().unwrap()) && said.contains("--data-dir"), "another plan: {said}");
    fs::write(&file, named).unwrap();
    // Each goes on where it began.
    for (args, data) in [(["standalone", "--demo"].as_slice(), &demo), (["standalone"].as_slice(), &real)] {
        let said = run(args, data);
        assert!(said.contains("api.listen"), "{said}");
    }
}

#[test]
fn a_file_without_an_end_is_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().to_str().unwrap();
    for args in [
        ["adapter", "parse", "--carrier", "usps", "/dev/zero"].as_slice(),
        &["adapter", "new", "endless", "--from", "/dev/zero", "--into", into],
    ] {
        let said = one_sentence(&waybill(args));
        assert!(said.contains("/dev/zero") && said.contains("more than"), "{said}");
    }
    let carrier = dir.path().join("endless-post");
    fs::create_dir(&carrier).unwrap();
    std::os::unix::fs::symlink("/dev/zero", carrier.join("adapter.yaml")).unwrap();
    let said = one_sentence(&waybill(&["adapter", "list", "--adapters", into]));
    assert!(said.contains("endless-post/adapter.yaml") && said.contains("more than"), "{said}");
}

#[test]
fn an_answer_that_cannot_be_read_is_told_by_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let body = dir.path().join("page.html");
    fs::write(&body, "<html><body><p>Good morning.</p></body></html>").unwrap();
    for more in [&[] as &[&str], &["--json"], &["--explain"], &["--explain", "--json"]] {
        let args = [["adapter", "parse", "--carrier", "usps", body.to_str().unwrap()].as_slice(), more].concat();
        let output = waybill(&args);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && !said.is_empty(), "{args:?}: {said}");
        assert!(output.stderr.is_empty(), "the answer says why: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn one_look_up_leaves_no_folder_behind_and_is_remembered_all_the_same() {
    let (here, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let track = |number: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["track", number, "--carrier", "sandbox", "--json"]);
        command.current_dir(here.path()).env("WAYBILL_CACHE", cache.path()).env_remove("WAYBILL__DATA_DIR");
        let output = command.output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let first = track("SANDBOX-INTRANSIT_PICKEDUP-0001"); // its second step comes fifty seconds later
    assert_eq!(first["status"], "InfoReceived", "{first}");
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0, "no folder is left");
    // POL-1: what it spent is where the next one looks.
    assert!(cache.path().join("track/log").is_dir());
    // A folder that is there is used.
    fs::create_dir(here.path().join("waybill-data")).unwrap();
    track("SANDBOX-DELIVERED-0002");
    assert!(here.path().join("waybill-data/log").is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_at_the_interface_is_a_4xx_and_a_second_process_a_sentence() {
    if !embedded_clickhouse() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut running = Waybill::start(dir.path(), &json!({ "telemetry": { "filter": "debug" } })).await;

    let long = "7".repeat(200);
    let body = json!({ "shipments": [
        { "number": long, "carrier": "sandbox" },
        { "number": "SANDBOX-DELIVERED-0001", "carrier": "no-such-carrier" },
        { "number": "SANDBOX-DELIVERED-0002", "carrier": "sandbox" },
        { "number": "DROP TABLE; --", "carrier": "sandbox" },
    ] });
    let (status, answer) = running.post("/v1/shipments", &body).await;
    let codes: Vec<&str> =
        answer["rejected"].as_array().unwrap().iter().filter_map(|one| one["error"]["code"].as_str()).collect();
    assert_eq!((status, codes), (200, vec!["number_invalid", "carrier_unknown", "number_invalid"]), "{answer}");
    assert_eq!(answer["accepted"][0]["number"], "SANDBOX-DELIVERED-0002");

    for (rubbish, expected) in [
        (b"not json".to_vec(), 400),
        (br#"{"shipments": 7}"#.to_vec(), 400),
        (br#"{"shipments": [{"number": "A", "nmber": 1}]}"#.to_vec(), 400),
        (vec![0xff, 0xfe, 0x00], 400),
        (vec![b' '; MAX_POST_BYTES + 1], 413), // not more: what stays unread would cut the connection
        (
            json!({ "shipments": vec![json!({"number": "SANDBOX-DELIVERED-0003", "carrier": "sandbox"}); 1_001] })
                .to_string()
                .into_bytes(),
            413,
        ),
    ] {
        let (status, answer) = running.post_raw("/v1/shipments", rubbish).await;
        assert_eq!(status, expected, "{answer}");
        assert!(answer["detail"].is_string() && answer["code"].is_string(), "{answer}");
    }
    for (path, expected) in [
        ("/v1/shipments/sandbox/%FF", 400),
        ("/v1/shipments/%FF%FE/SANDBOX-DELIVERED-9999", 400),
        ("/v1/shipments/sandbox/SANDBOX-DELIVERED-9999", 404),
        ("/v1/shipments/sandbox/%3Cscript%3E", 400),
        ("/v1/shipments?status=Nonsense", 400),
        ("/v1/shipments?cursor=zzz", 400),
        ("/v1/shipments?unknown=1", 400),
        ("/v1/carriers/none", 404),
        ("/nowhere", 404),
    ] {
        let (status, answer) = running.get(path).await;
        assert_eq!(status, expected, "{path}: {answer}");
        assert!(answer["detail"].is_string() && answer["code"].is_string(), "{path}: {answer}");
    }

    // A second process on the same directory, and one whose port is taken.
    let data = running.data();
    let said = one_sentence(&waybill(&["standalone", "--data-dir", data.to_str().unwrap()]));
    assert!(said.contains("--data-dir"), "{said}");
    let holder: Value = serde_json::from_slice(&fs::read(data.join("process.json")).unwrap()).unwrap();
    let busy = holder["api"].as_str().unwrap().trim_start_matches("http://");
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("waybill.yaml");
    fs::write(&file, json!({ "api": { "listen": busy }, "admin": { "listen": "127.0.0.1:0" }, "clickhouse": { "listen": "127.0.0.1:0" } }).to_string()).unwrap();
    let said = one_sentence(&waybill(&[
        "standalone",
        "--config",
        file.to_str().unwrap(),
        "--data-dir",
        other.path().join("data").to_str().unwrap(),
    ]));
    assert!(said.contains("api.listen"), "{said}");
    // What the process of ClickHouse says is said once.
    let busy = holder["sql"].as_str().unwrap().trim_start_matches("http://");
    let free = json!({ "listen": "127.0.0.1:0" });
    fs::write(&file, json!({ "api": free, "admin": free, "clickhouse": { "listen": busy } }).to_string()).unwrap();
    let data = other.path().join("data");
    let args = ["standalone", "--config", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let said = one_sentence(&waybill(&args));
    assert!(said.contains(busy) && said.contains("another port"), "{said}");

    // Nothing of all this has hurt.
    eventually("the good number is tracked", || async {
        let view = running.get("/v1/shipments/sandbox/SANDBOX-DELIVERED-0002").await.1;
        view["shipment"].is_object().then_some(())
    })
    .await;
    assert!(running.stop().await.success());
    running.sec_1_logs_hold_none_of([&long, "SANDBOX-DELIVERED", "DROP TABLE", "3Cscript"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_refuses_to_start_and_says_what_to_do() {
    if !embedded_clickhouse() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut running = Waybill::start(dir.path(), &json!({})).await;
    let shipments: Vec<Value> =
        (0..200).map(|n| json!({ "number": format!("SANDBOX-DELIVERED-{n:04}"), "carrier": "sandbox" })).collect();
    running.post("/v1/shipments", &json!({ "shipments": shipments })).await;
    assert!(running.stop().await.success());
    // Every large file of the log gets a run of wrong bytes in its middle.
    let mut damaged = 0;
    for file in files(&running.data().join("log")) {
        let mut bytes = fs::read(&file).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        if used > 2_000 {
            bytes[used / 2..used / 2 + 64].fill(0xa5);
            fs::write(&file, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0, "there is something to damage");
    let output = waybill(&[
        "standalone",
        "--config",
        dir.path().join("waybill.yaml").to_str().unwrap(),
        "--data-dir",
        running.data().to_str().unwrap(),
    ]);
    let said = one_sentence(&output);
    assert!(said.contains("damaged") && said.contains("log"), "{said}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_507_and_nothing_accepted_is_lost() {
    if !embedded_clickhouse() {
        return;
    }
    let Some(disk) = SmallDisk::mount("384m") else { return };
    let mut running = Waybill::start(&disk.path, &json!({})).await;
    let post =
        |n: u32| json!({ "shipments": [{ "number": format!("SANDBOX-DELIVERED-{n:04}"), "carrier": "sandbox" }] });
    assert_eq!(running.post("/v1/shipments", &post(1)).await.0, 200);
    // The disk fills while orders come in, so that some are taken at the last moment.
    let filler = disk.path.join("filler");
    let filling = tokio::task::spawn_blocking(move || fill(&filler));
    let (mut accepted, mut refused, mut on_a_full_disk) = (vec![1], 0, 0);
    let (mut n, began) = (1, Instant::now());
    while on_a_full_disk < 30 {
        assert!(began.elapsed() < PATIENCE, "the disk does not fill");
        n += 1;
        if filling.is_finished() {
            on_a_full_disk += 1;
        }
        if on_a_full_disk == 10 {
            // What little room has come about since.
            fill(&disk.path.join("filler-again"));
        }
        match running.try_post("/v1/shipments", &post(n)).await {
            Some((200, answer)) => {
                assert_eq!(answer["accepted"].as_array().map(Vec::len), Some(1), "{answer}");
                accepted.push(n);
            }
            Some((status, answer)) => {
                assert_eq!(status, 507, "{answer}\n{}", running.log());
                assert!(
                    answer["detail"].as_str().is_some_and(|said| said.contains("repeating it is safe")),
                    "{answer}"
                );
                refused += 1;
            }
            // It may give up; what it has accepted is there when it starts again.
            None => break,
        }
    }
    filling.await.unwrap();
    assert!(refused > 0, "a full disk refuses:\n{}", running.log());
    for file in fs::read_dir(&disk.path).unwrap().map(|entry| entry.unwrap().path()) {
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("filler")) {
            fs::remove_file(file).unwrap();
        }
    }
    // With room again everything goes on, in a new process if the old one has ended meanwhile.
    let (last, began) = (n + 1, Instant::now());
    loop {
        if running.has_ended() {
            println!("full disk: the process ended and is started again");
            running.restart(&["standalone"]).await;
        }
        if running.try_post("/v1/shipments", &post(last)).await.is_some_and(|(status, _)| status == 200) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "orders are not taken again:\n{}", running.log());
        sleep(Duration::from_millis(200)).await;
    }
    accepted.push(last);
    for n in &accepted {
        let path = format!("/v1/shipments/sandbox/SANDBOX-DELIVERED-{n:04}");
        eventually("an accepted number is tracked", || async {
            running.get(&path).await.1["shipment"].is_object().then_some(())
        })
        .await;
    }
    println!("full disk: {} orders accepted, {refused} refused with 507, none of the accepted lost", accepted.len());
    running.kill();
}

/// Writes a file until nothing fits any more.
fn fill(file: &Path) {
    use std::io::Write;
    let mut out = fs::File::create(file).unwrap();
    let block = vec![0x5a; 64 * 1024];
    while out.write_all(&block).is_ok() {}
    while out.write_all(&block[..512]).is_ok() {}
}

/// A small file system of its own.
struct SmallDisk {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::create_dir(&path).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).status();
        if !mounted.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "in CI a small file system must be mountable");
            println!("skipped: a small file system cannot be mounted here");
            return None;
        }
        Some(Self { path, _folder: folder })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
