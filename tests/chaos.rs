//! Faults in a cluster on a real broker: processes killed and frozen, the broker and ClickHouse stopped. After each, the
//! views must equal the simulator's ledger and no budget may have been exceeded at the carriers' door.
//!
//! One cluster goes through a short form of all; `WAYBILL_CHAOS=long` runs each fault for as long as the promises say instead
//! (`make chaos`). The seed is printed; `WAYBILL_SEED` replays it. `WAYBILL_KILL_EVERY_MS` is the time from one kill to the next
//! in the long form (1,000), `WAYBILL_RATE` what each carrier allows a second, `WAYBILL_PARCELS` how many are tracked meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "reads what its own programs answer")]

#[path = "support/chart.rs"]
mod chart;
#[path = "support/cluster/mod.rs"]
mod cluster;
mod support;

use std::{process::Child, time::Duration};

use cluster::{Cluster, Lives, Plan, ROLES, tail};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::process::{Pid, Signal, kill_process};
use support::{PATIENCE, cluster_turn, eventually, number};
use tokio::time::{Instant, sleep};
use waybill_carrier_sim::wall_now_ms;

/// A fetcher sends nothing ten seconds after its last acknowledged commit. On a busy machine that commit's answer, and the
/// last requests that it let out, may be on their way for as long again.
const LEASE_US: i64 = 20_000_000;

/// Parcels that are registered in a fault only, so that there is something to ask then, however long all before it took.
const FRESH: usize = 100;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn long() -> bool {
    std::env::var("WAYBILL_CHAOS").is_ok_and(|form| form == "long")
}

fn seed() -> u64 {
    let given = std::env::var("WAYBILL_SEED").ok().map(|seed| seed.parse().expect("WAYBILL_SEED is a number"));
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("chaos: WAYBILL_SEED={seed}");
    seed
}

/// kill -9 of each kind of service in turn, one every `every`, for `time`.
async fn kills(cluster: &mut Cluster, dice: &mut StdRng, every: Duration, time: Duration) {
    let (began, began_us) = (Instant::now(), wall_now_ms() * 1_000);
    let mut turn = 0;
    while began.elapsed() < time {
        sleep(every).await;
        let ended = cluster.ended_by_themselves();
        assert!(ended.is_empty(), "{}", ended.join("\n"));
        let role = ROLES[turn % ROLES.len()];
        let ordinal = dice.random_range(0..cluster.plan().replicas);
        cluster.service(role, ordinal).kill_and_restart();
        turn += 1;
    }
    let rate = cluster.rate_between(began_us, wall_now_ms() * 1_000);
    println!("chaos: {turn} kill -9 in {:.0} s at {rate:.0} fetches/s", began.elapsed().as_secs_f64());
}

/// A process that has a successor; it does not outlive the test.
struct Zombie(Child);

impl Drop for Zombie {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Those of which state depends on who owns a partition.
const OWNERS: [&str; 3] = ["scheduler", "fetcher", "normalizer"];

/// One of each owner frozen beside a successor of the same name.
async fn freeze_zombies(cluster: &mut Cluster) -> Vec<(&'static str, Zombie)> {
    // Who joins a group after its namesake is the successor, also when it was frozen before it joined.
    cluster.all_ready().await;
    let mut freeze = |role| {
        let service = cluster.service(role, 0);
        service.freeze();
        (role, Zombie(service.replace()))
    };
    OWNERS.into_iter().map(&mut freeze).collect()
}

/// Continues them: each finds that its name is taken and ends by itself, with its reason.
async fn zombies_end(cluster: &mut Cluster, frozen: Vec<(&str, Zombie)>) {
    for (_, zombie) in &frozen {
        kill_process(Pid::from_child(&zombie.0), Signal::CONT).unwrap();
    }
    for (role, mut zombie) in frozen {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = zombie.0.try_wait().unwrap() {
                break status;
            }
            // Two sessions and more may pass before it is sure that its name is another's.
            if began.elapsed() > PATIENCE {
                let log = cluster.service(role, 0).log();
                panic!("the zombie {role} goes on:\n{}", tail(&log));
            }
            sleep(Duration::from_millis(50)).await;
        };
        println!("chaos: the zombie {role} ended with {status}");
        assert!(!status.success(), "a zombie says why it ended");
    }
}

/// One of each owner frozen, without a successor of its name: others take over.
async fn freeze_sleepers(cluster: &mut Cluster) {
    cluster.all_ready().await;
    OWNERS.into_iter().for_each(|role| cluster.service(role, 1).freeze());
}

/// Continues them under their own names.
fn sleepers_wake(cluster: &mut Cluster) {
    OWNERS.into_iter().for_each(|role| cluster.service(role, 1).thaw());
}

/// The broker hangs, then dies and comes back.
async fn broker_away(cluster: &mut Cluster, hangs: Duration, gone: Duration) {
    let pid = Pid::from_raw(i32::try_from(cluster.broker.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let silent_us = wall_now_ms() * 1_000;
    sleep(hangs).await;
    let late = cluster.rate_between(silent_us + LEASE_US, wall_now_ms() * 1_000);
    assert!(late == 0.0, "a fetcher without a lease sends nothing: {late:.1} requests/s");
    kill_process(pid, Signal::CONT).unwrap();
    sleep(seconds(5)).await;
    cluster.broker.kill();
    sleep(gone).await;
    cluster.broker.restart().await;
    let ended = cluster.ended_by_themselves();
    assert!(ended.is_empty(), "no process exits because the broker is away: {}", ended.join("\n"));
    let before = cluster.requests();
    register_fresh(cluster, 0).await;
    eventually("the carriers are asked again", || async { (cluster.requests() > before + 50).then_some(()) }).await;
}

/// ClickHouse is stopped; topics flow on.
async fn clickhouse_away(cluster: &mut Cluster, time: Duration) {
    cluster.clickhouse_stop().await;
    let (before, began) = (cluster.requests(), Instant::now());
    register_fresh(cluster, 1).await;
    sleep(time).await;
    let during = || cluster.requests() - before;
    eventually("topics flow on while ClickHouse is away", || async { (during() > 50).then_some(()) }).await;
    println!("chaos: {} fetches while ClickHouse was away for {:.0} s", during(), began.elapsed().as_secs_f64());
    let ended = cluster.ended_by_themselves();
    assert!(ended.is_empty(), "no process exits because ClickHouse is away: {}", ended.join("\n"));
    cluster.clickhouse_start().await;
}

/// Registers the parcels that were kept for the first or the second fault.
async fn register_fresh(cluster: &mut Cluster, fault: usize) {
    let end = cluster.plan().parcels as usize - fault * FRESH;
    cluster.register_places(end - FRESH..end).await;
}

/// A cluster whose parcels are registered, but those of the plan that are kept for `faults`.
async fn cluster(seed: u64, parcels: usize, faults: usize, lives_s: u32, rate: u32) -> Cluster {
    let plan = Plan {
        seed,
        parcels: u32::try_from(parcels + faults * FRESH).unwrap(),
        lives_s,
        lives: Lives::InTurn,
        rate_per_second: number("WAYBILL_RATE", rate).into(),
        max_interval_s: if long() { 2 } else { 3 },
        quota: Some(("polar-fox-post", if long() { 60 } else { 15 })),
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan).await;
    cluster.register_places(0..parcels).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn short_sch_1_sch_2_pol_1_pol_2_every_fault_in_one_cluster() {
    if long() {
        return;
    }
    let Some(_turn) = cluster_turn().await else { return };
    let seed = seed();
    let mut dice = StdRng::seed_from_u64(seed);
    // Where nothing is slow, the last parcels begin when the faults end.
    let mut cluster = cluster(seed, 400, 2, 150, 20).await;
    let began = Instant::now();
    let done = |what: &str| println!("chaos: {what} done after {:.0} s", began.elapsed().as_secs_f64());
    kills(&mut cluster, &mut dice, seconds(3), seconds(20)).await;
    done("kills");
    // Longer than a session.
    let zombies = freeze_zombies(&mut cluster).await;
    freeze_sleepers(&mut cluster).await;
    sleep(seconds(20)).await;
    sleepers_wake(&mut cluster);
    zombies_end(&mut cluster, zombies).await;
    done("zombies and sleepers");
    broker_away(&mut cluster, seconds(26), seconds(14)).await;
    done("the broker's absence");
    clickhouse_away(&mut cluster, seconds(8)).await;
    done("ClickHouse's absence");
    println!("chaos: {}", cluster.check_whole().await);
    done("everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_sch_1_pol_1_pol_2_three_minutes_of_kills() {
    if !long() {
        return;
    }
    let Some(_turn) = cluster_turn().await else { return };
    let seed = seed();
    let mut dice = StdRng::seed_from_u64(seed);
    let parcels = number("WAYBILL_PARCELS", 9_000) as usize;
    let mut cluster = cluster(seed, parcels, 0, 300, 120).await;
    // Each of five services every five seconds. What is asked of carriers meanwhile is printed: a partition whose owner has
    // just changed rests for a lease, so budgets must allow some three times of what is to be seen.
    let every = Duration::from_millis(number("WAYBILL_KILL_EVERY_MS", 1_000).into());
    kills(&mut cluster, &mut dice, every, seconds(180)).await;
    println!("chaos: {}", cluster.check_whole().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_sch_2_zombies_of_a_minute_win_nothing() {
    if !long() {
        return;
    }
    let Some(_turn) = cluster_turn().await else { return };
    let mut cluster = cluster(seed(), 1_000, 0, 260, 45).await;
    sleep(seconds(10)).await;
    let zombies = freeze_zombies(&mut cluster).await;
    sleep(seconds(60)).await;
    zombies_end(&mut cluster, zombies).await;
    freeze_sleepers(&mut cluster).await;
    sleep(seconds(60)).await;
    sleepers_wake(&mut cluster);
    println!("chaos: {}", cluster.check_whole().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_log_1_the_broker_and_clickhouse_stopped_for_a_while() {
    if !long() {
        return;
    }
    let Some(_turn) = cluster_turn().await else { return };
    let mut cluster = cluster(seed(), 1_000, 2, 260, 45).await;
    sleep(seconds(10)).await;
    broker_away(&mut cluster, seconds(30), seconds(30)).await;
    clickhouse_away(&mut cluster, seconds(60)).await;
    println!("chaos: {}", cluster.check_whole().await);
}
