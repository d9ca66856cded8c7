//! Rubbish in, one clear sentence out, and nothing lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use support::{PROGRAM, Waybill, embedded_clickhouse, eventually};
use waybill_carrier_sim::{Config as SimConfig, JourneyMap, Misbehaviour, PlanConfig, Rule, Simulator, wall_now_ms};

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

fn carriers_folder() -> PathBuf {
    PathBuf::from("../../loadtest/carriers")
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
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_at_the_interface_is_a_4xx_and_a_second_process_a_sentence() {
    if !embedded_clickhouse() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut running = Waybill::start(dir.path(), &json!({})).await;

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
        (vec![b' '; 1_100_000], 413),
        (
            json!({ "shipments": vec![json!({"number": "SANDBOX-DELIVERED-0003", "carrier": "sandbox"}); 1_001] })
                .to_string()
                .into_bytes(),
            413,
        ),
    ] {
        let (status, answer) = running.post_raw("/v1/shipments", rubbish).await;
        assert_eq!(status, expected, "{answer}");
    }
    for (path, expected) in [
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

    // Nothing of all this has hurt.
    eventually("the good number is tracked", || async {
        let view = running.get("/v1/shipments/sandbox/SANDBOX-DELIVERED-0002").await.1;
        view["shipment"].is_object().then_some(())
    })
    .await;
    assert!(running.stop().await.success());
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
    let filler = disk.path.join("filler");
    disk.fill(&filler);
    let (mut accepted, mut refused) = (vec![1], None);
    for n in 2..3_000 {
        // What little room is left is used up by the small orders themselves.
        match running.post("/v1/shipments", &post(n)).await {
            (200, _) => accepted.push(n),
            (status, answer) => {
                refused = Some((status, answer));
                break;
            }
        }
        if n % 50 == 0 {
            disk.fill(&disk.path.join(format!("filler-{n}")));
        }
    }
    let (status, answer) = refused.expect("a full disk refuses");
    assert!(status == 507 || status == 503, "{status} {answer}");
    assert!(answer["detail"].as_str().is_some_and(|said| said.contains("repeating it is safe")), "{answer}");
    for file in fs::read_dir(&disk.path).unwrap().map(|entry| entry.unwrap().path()) {
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("filler")) {
            fs::remove_file(file).unwrap();
        }
    }
    // With room again everything goes on; if the process has ended meanwhile, it starts again.
    eventually("orders are taken again", || async {
        (running.post("/v1/shipments", &post(5_000)).await.0 == 200).then_some(())
    })
    .await;
    for n in [accepted[0], accepted[accepted.len() / 2], accepted[accepted.len() - 1], 5_000] {
        let path = format!("/v1/shipments/sandbox/SANDBOX-DELIVERED-{n:04}");
        eventually("an accepted number is tracked", || async {
            running.get(&path).await.1["shipment"].is_object().then_some(())
        })
        .await;
    }
    println!("full disk: {} orders accepted before status {status}, none lost", accepted.len());
    running.kill();
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

    fn fill(&self, file: &Path) {
        use std::io::Write;
        let mut out = fs::File::create(file).unwrap();
        let block = vec![0x5a; 64 * 1024];
        while out.write_all(&block).is_ok() {}
        while out.write_all(&block[..512]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cannot_be_read_are_unreadable_and_erase_nothing() {
    if !embedded_clickhouse() {
        return;
    }
    let now = wall_now_ms();
    // Forty days ago is the beginning: by now every parcel has its whole history.
    let clock = JourneyMap { anchor_ms: now - 40 * 86_400_000, start_ms: now - 40 * 86_400_000, scale: 1.0 };
    let sim = Simulator::start(SimConfig::new(PlanConfig::new(3, 64, clock))).unwrap();
    let plan = sim.plan();
    let mut parcels: Vec<_> =
        plan.parcels().iter().filter(|parcel| parcel.end == waybill_carrier_sim::End::Delivered).cloned().collect();
    parcels.sort_by_key(|parcel| parcel.carrier);
    parcels.dedup_by_key(|parcel| parcel.carrier);
    let mut carriers = serde_json::Map::new();
    let mut routes = Vec::new();
    for slug in waybill_carrier_sim::carriers() {
        let budget = json!({ "rate_per_second": 50.0, "burst": 50, "concurrency": 8, "min_interval_s": 1 });
        carriers.insert(slug.to_owned(), json!({ "enabled": true, "budget": budget }));
        routes.push(json!({ "carrier": slug, "to": sim.route() }));
    }
    let config = json!({
        "adapters": [carriers_folder()], "carriers": carriers,
        "fetcher": { "allow_private": true, "routes": routes }, "telemetry": { "filter": "warn" },
    });
    let dir = tempfile::tempdir().unwrap();
    let running = Waybill::start(dir.path(), &config).await;
    let entries: Vec<Value> = parcels
        .iter()
        .map(|parcel| json!({ "carrier": parcel.carrier, "number": parcel.number, "params": parcel.params }))
        .collect();
    let (_, answer) = running.post("/v1/shipments", &json!({ "shipments": entries })).await;
    assert_eq!(answer["rejected"], json!([]), "{answer}");
    let troubles = [
        Misbehaviour::Huge { megabytes: 50 },
        Misbehaviour::InvalidUtf8,
        Misbehaviour::ChangedLayout,
        Misbehaviour::GzipBomb { megabytes: 64 },
        Misbehaviour::Empty,
    ];
    for (parcel, trouble) in parcels.iter().zip(troubles.iter().cycle()) {
        let path = format!("/v1/shipments/{}/{}", parcel.carrier, parcel.number);
        let good = eventually("a first good look", || async {
            let view = running.get(&path).await.1;
            (view["shipment"]["last_outcome"]["class"] == "tracked").then_some(view)
        })
        .await;
        sim.misbehave(Rule::new(*trouble).number(&parcel.number)).unwrap();
        running.post(&format!("{path}/refresh"), &json!({})).await;
        let bad = eventually("an unreadable look", || async {
            let view = running.get(&path).await.1;
            (view["shipment"]["last_outcome"]["class"] == "unreadable").then_some(view)
        })
        .await;
        println!("{:<20} {trouble:?}: {}", parcel.carrier, bad["shipment"]["last_outcome"]["detail"]);
        assert!(bad["shipment"]["last_outcome"]["detail"].is_string(), "{bad}");
        assert_eq!(bad["shipment"]["status"], good["shipment"]["status"], "unreadable leaves the status alone");
        assert_eq!(bad["events"].as_array().map(Vec::len), good["events"].as_array().map(Vec::len), "and the history");
    }
}
