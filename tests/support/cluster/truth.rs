//! What must hold at the end: the views equal the carriers' ledger, and no budget was exceeded at the carriers' door.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::time::{Instant, sleep};
use waybill_carrier_sim::{FullestWindow, fullest_window, wall_now_ms};

use super::{Cluster, Plan, plan::BURST};
use crate::support::PATIENCE;

/// The events of each number; equal ones are separate events, so they are kept as sorted lists.
pub type Histories = BTreeMap<(String, String), Vec<(String, String, String)>>;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Cluster {
    /// What the carriers have shown.
    pub fn shown(&self) -> Histories {
        let history = |truth: waybill_carrier_sim::Truth| {
            let event =
                |shown: waybill_carrier_sim::Shown| (shown.time_raw, shown.text, shown.location.unwrap_or_default());
            let mut events: Vec<_> = truth.events.into_iter().map(event).collect();
            events.sort();
            ((truth.carrier, truth.number), events)
        };
        self.simulator.truth().into_iter().map(history).filter(|(_, events)| !events.is_empty()).collect()
    }

    /// How many events the carriers have shown.
    pub fn shown_events(&self) -> usize {
        self.shown().values().map(Vec::len).sum()
    }

    /// `ce_id` of each event in the store: each was published once or more.
    pub async fn published_events(&self) -> BTreeSet<String> {
        let sql = "SELECT DISTINCT concat(event_id, '.', toString(version)) AS id FROM waybill.tracking_events";
        self.sql(sql).await.iter().map(|row| text(&row["id"])).collect()
    }

    /// What the views show.
    pub async fn stored(&self) -> Histories {
        let sql = "SELECT toString(carrier) AS carrier, number, time_raw, text, ifNull(location, '') AS location \
                   FROM waybill.v_events";
        let mut all = Histories::new();
        for row in self.try_sql(sql).await.unwrap_or_default() {
            let key = (text(&row["carrier"]), text(&row["number"]));
            all.entry(key).or_default().push((text(&row["time_raw"]), text(&row["text"]), text(&row["location"])));
        }
        all.values_mut().for_each(|events| events.sort());
        all
    }

    /// Waits until every parcel that can be read has shown its end and the views equal the ledger, and checks all that must
    /// hold at the end: nothing lost, nothing double, every parcel at its end, budgets and quotas held at the door, no
    /// promise violated. Answers a line for people.
    ///
    /// # Panics
    /// When something does not hold.
    pub async fn check_whole(&mut self) -> String {
        let parcels = u64::from(self.plan.parcels);
        let quota = self.plan.quota.map(|(carrier, _)| carrier);
        let began = Instant::now();
        loop {
            let truth = self.simulator.truth();
            // A carrier whose quota is used up shows no ends; what it has shown must be stored all the same.
            let open = truth.iter().filter(|truth| {
                truth.sub_status.is_some() && !truth.end_shown && Some(truth.carrier.as_str()) != quota
            });
            let (open, shown) = (open.count(), self.shown());
            if open == 0 && self.stored().await == shown && self.shown() == shown {
                break;
            }
            let ended = self.ended_by_themselves();
            assert!(ended.is_empty(), "{}", ended.join("\n"));
            if began.elapsed() > PATIENCE {
                let stored = self.stored().await;
                let differ: Vec<_> = shown
                    .iter()
                    .filter(|(key, events)| stored.get(*key) != Some(events))
                    .map(|(key, events)| {
                        format!("{key:?}: {} shown, {} stored", events.len(), stored.get(key).map_or(0, Vec::len))
                    })
                    .collect();
                panic!(
                    "{open} parcels have not shown their end; {} histories differ: {:#?}\n{}",
                    differ.len(),
                    &differ[..differ.len().min(10)],
                    self.standstill(quota).await
                );
            }
            sleep(Duration::from_millis(500)).await;
        }
        // Registrations and shipments come by other tables than events, a little later.
        let began = Instant::now();
        let registered = loop {
            let registered = self.sql_number("SELECT count() FROM waybill.v_registrations").await;
            let wrong = self.wrong_ends(quota).await;
            if registered == parcels && wrong.is_empty() {
                break registered;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{registered} of {parcels} numbers are registered, {} stand elsewhere than at their end: {wrong:#?}",
                wrong.len()
            );
            sleep(Duration::from_millis(500)).await;
        };
        let rows = self.sql_number("SELECT count() FROM waybill.v_events").await;
        // In one question: a scan that is handed in late may still come.
        let double = self.sql_number("SELECT count() - uniqExact(event_id, version) FROM waybill.v_events").await;
        assert_eq!(double, 0, "each (event_id, version) once in the views");
        let base = self.sql_number("SELECT count() FROM waybill.tracking_events").await;
        let violated = self.lines_with("promise.violated");
        assert!(violated.is_empty(), "{}", violated.join("\n"));
        let (requests, (carrier, worst)) = self.check_door();
        format!(
            "{registered} numbers, {rows} events in the views ({base} rows in the base table), {requests} requests, 0 over \
             budget, fullest window {:.0} %: {carrier}, {} requests within {:.2} s, {:.1} allowed",
            worst.percent(),
            worst.count,
            worst.window_us as f64 / 1e6,
            worst.allowed
        )
    }

    /// Where it stands still: the open parcels of each carrier, and what each service says of itself.
    async fn standstill(&self, quota: Option<&str>) -> String {
        let ledger = self.simulator.ledger();
        let now_us = wall_now_ms() * 1_000;
        let ago_s = |at_us: i64| (now_us - at_us) / 1_000_000;
        let mut last: BTreeMap<(String, String), i64> = BTreeMap::new();
        for answer in ledger.answers() {
            last.insert((answer.carrier, answer.number), answer.at_us);
        }
        let mut lines = Vec::new();
        for truth in self.simulator.truth() {
            if truth.sub_status.is_some() && !truth.end_shown && Some(truth.carrier.as_str()) != quota {
                let key = (truth.carrier, truth.number);
                let asked = last.get(&key).map_or_else(|| "never".to_owned(), |at| format!("{} s ago", ago_s(*at)));
                lines.push(format!("{} {}: asked {} times, last {asked}", key.0, key.1, truth.requests));
            }
        }
        lines.truncate(100);
        for carrier in ledger.carriers() {
            let answered = last.iter().filter(|((of, _), _)| *of == carrier).map(|(_, at)| *at).max();
            lines.push(format!("{carrier}: last answer {} s ago", answered.map_or(-1, ago_s)));
        }
        for service in &self.services {
            lines.push(format!("{}: {}", service.name(), service.why_not_ready(&self.http).await));
        }
        lines.join("\n")
    }

    /// Parcels whose shipment is not at the end that the carrier has shown.
    async fn wrong_ends(&self, without: Option<&str>) -> Vec<String> {
        let sql =
            "SELECT toString(carrier) AS carrier, number, toString(sub_status) AS sub_status FROM waybill.v_shipments";
        let ends: BTreeMap<(String, String), String> = self
            .sql(sql)
            .await
            .iter()
            .map(|row| ((text(&row["carrier"]), text(&row["number"])), text(&row["sub_status"])))
            .collect();
        self.simulator
            .truth()
            .into_iter()
            .filter(|truth| Some(truth.carrier.as_str()) != without)
            .filter_map(|truth| {
                let end = truth.sub_status?.to_string();
                let key = (truth.carrier, truth.number);
                let found = ends.get(&key).cloned().unwrap_or_default();
                (found != end).then(|| format!("{key:?}: {found} instead of {end}"))
            })
            .collect()
    }

    /// POL-1 and POL-2 at the carriers' door: how many requests came, and whose fullest window was the fullest.
    ///
    /// # Panics
    /// When a budget or a quota was exceeded.
    pub fn check_door(&self) -> (usize, (&'static str, FullestWindow)) {
        let ledger = self.simulator.ledger();
        let mut requests = 0;
        let mut worst: Option<(&'static str, FullestWindow)> = None;
        for slug in waybill_carrier_sim::carriers() {
            let arrivals = ledger.arrivals(&[slug]);
            requests += arrivals.len();
            let window = fullest_window(&arrivals, self.plan.rate_per_second, BURST);
            assert!(window.held(), "POL-1: {slug}: {window:?}");
            if worst.as_ref().is_none_or(|(_, worst)| window.ratio > worst.ratio) {
                worst = Some((slug, window));
            }
            if let Some((_, allowed)) = self.plan.quota.filter(|(carrier, _)| *carrier == slug) {
                let mut days: BTreeMap<i64, u32> = BTreeMap::new();
                arrivals.iter().for_each(|at| *days.entry(at / 86_400_000_000).or_default() += 1);
                let fullest = days.values().copied().max().unwrap_or_default();
                println!("quota of {slug}: {fullest} of {allowed} requests in a day");
                assert!(fullest <= allowed, "POL-2: {slug}: {fullest} requests in a day that allows {allowed}");
            }
        }
        (requests, worst.expect("there are carriers"))
    }

    /// Requests per second at the carriers' door between two instants (µs).
    pub fn rate_between(&self, from_us: i64, to_us: i64) -> f64 {
        let arrivals = self.simulator.ledger().arrivals(&waybill_carrier_sim::carriers());
        let within = arrivals.iter().filter(|at| (from_us..to_us).contains(*at)).count();
        within as f64 / ((to_us - from_us).max(1) as f64 / 1e6)
    }

    /// The plan that this cluster was started with.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The carriers' ledger.
    pub fn ledger(&self) -> Arc<waybill_carrier_sim::Ledger> {
        self.simulator.ledger()
    }
}
