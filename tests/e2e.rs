//! The whole pipeline as a cluster: three processes of each service on a real broker, with the chart's command lines, from
//! registration over HTTP to the views. Prints where the time goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "reads what its own programs answer")]

#[path = "support/chart.rs"]
mod chart;
#[path = "support/cluster/mod.rs"]
mod cluster;
mod support;

use cluster::{Cluster, Consumers, Plan, Service};
use support::{cluster_turn, eventually, number};
use tokio::time::Instant;
use waybill_carrier_sim::wall_now_ms;

#[tokio::test(flavor = "multi_thread")]
async fn three_of_each_service_track_every_parcel_to_its_end_and_stop_in_time() {
    let Some(_turn) = cluster_turn().await else { return };
    let seed = number("WAYBILL_SEED", 11);
    println!("e2e: WAYBILL_SEED={seed}");
    let plan = Plan {
        seed: u64::from(seed),
        parcels: number("WAYBILL_PARCELS", 500),
        replicas: number("WAYBILL_REPLICAS", 3),
        rate_per_second: f64::from(number("WAYBILL_RATE", 30)),
        max_interval_s: number("WAYBILL_INTERVAL", 2),
        lives_s: number("WAYBILL_LIVES", 70),
        ..Plan::default()
    };
    let began = Instant::now();
    let mut cluster = Cluster::start(plan).await;
    let done = |what: &str| println!("e2e: {what} after {:.1} s", began.elapsed().as_secs_f64());
    done(&format!("{} processes ready", cluster.services.len()));
    let schema = "tracking-event.schema.json";
    let folder = tempfile::tempdir().expect("a folder");
    let mut consumers = Consumers::start(folder.path(), &cluster.broker.brokers(), "waybill.tracking-events", schema);
    let started_us = wall_now_ms() * 1_000;
    cluster.register_all().await;
    let half = cluster.plan().parcels as usize * 4;
    eventually("half of the events are known", || async { (cluster.shown_events() > half).then_some(()) }).await;
    done("half");
    // Under load: SIGTERM drains and ends with 0 within 20 s, readiness turned first; who comes after them goes on.
    let now_us = wall_now_ms() * 1_000;
    let load = cluster.rate_between(now_us - 3_000_000, now_us);
    let took = cluster.stop_all().await;
    println!("e2e: all ended {:.1} s after SIGTERM under a load of {load:.0} fetches/s", took.as_secs_f64());
    cluster.services.iter_mut().for_each(Service::start);
    cluster.all_ready().await;
    done("all ready again");
    consumers.kill_and_restart().await;
    done("the examples killed and restarted");
    println!("e2e: {}", cluster.check_whole().await);
    done("every parcel at its end");
    let seen = consumers.have_seen(async || cluster.published_events().await).await;
    println!("e2e: the examples printed: {seen}");
    consumers.drop_what_they_should().await;
    done("the examples' checks");
    let said = cluster.smoke();
    done("smoke test");
    assert!(said.contains("waybill.tracking-events holds it as well"), "{said}");
    let rate = cluster.rate_between(started_us, wall_now_ms() * 1_000);
    println!("e2e: {rate:.0} fetches/s on average");
    for row in cluster
        .sql(
            "SELECT count() AS shipments, quantile(0.5)(d) AS p50_ms, quantile(0.99)(d) AS p99_ms FROM (\
             SELECT dateDiff('millisecond', r.registered_at, o.first) AS d FROM waybill.v_registrations AS r INNER JOIN (\
             SELECT carrier, number, min(seen_at) AS first FROM waybill.v_fetch_outcomes GROUP BY carrier, number) AS o \
             USING (carrier, number))",
        )
        .await
    {
        println!("e2e: registered → first outcome: {row}");
    }

    let seconds = (wall_now_ms() * 1_000 - started_us) as f64 / 1e6;
    println!("e2e: where the time went, in {seconds:.0} s on this machine's cores:");
    for line in cluster.used() {
        println!("e2e:   {line}");
    }

    cluster.stop_all().await;
    done("all ended");
    let errors = cluster.lines_with("ERROR");
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}
