//! `waybill carriers`: how each carrier is, and how many numbers each budget can carry. Asks the process that holds the data
//! directory, or the API that `--api` names; without either it tells what configuration and adapters say.

use std::{collections::BTreeMap, io::Write, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use waybill_adapters::Catalog;
use waybill_fetcher::look_at;
use waybill_schemas::{
    CarrierSlug,
    politeness::{Budget, CarrierPolicy},
};

use crate::{
    answer,
    cli::{Carriers, CarriersCommand},
    config::Config,
    datadir::DataDir,
};

const PATIENCE: Duration = Duration::from_secs(20);
const DAY_S: f64 = 86_400.0;
/// Intervals that `plan` tells figures for, with their names.
const INTERVALS: [(&str, f64); 4] = [("1 h", 3_600.0), ("4 h", 14_400.0), ("12 h", 43_200.0), ("24 h", DAY_S)];

/// Runs the command.
///
/// # Errors
/// One sentence: the carrier is unknown, or whoever was named does not answer.
pub(crate) async fn run(order: Carriers, out: &mut dyn Write) -> Result<()> {
    let config = Config::load(&order.common)?;
    let holder = || -> Result<String> { Ok(DataDir::holder(&config.data_dir)?.context("no process runs")?.api) };
    let api = order.api.clone().map_or_else(holder, Ok);
    let asked = match &api {
        Ok(api) => Api::new(api)?.get("/v1/carriers").await,
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    let carriers = match (asked, &order.api, &order.command) {
        (Ok(answer), ..) => answer["carriers"].as_array().cloned().unwrap_or_default(),
        (Err(error), Some(_), _) => return Err(error),
        (Err(error), None, Some(CarriersCommand::Lift { .. })) => {
            return Err(error.context("a running process must be asked; name its API with --api URL"));
        }
        (Err(_), None, _) => offline(&config)?,
    };
    let find = |slug: &str| -> Result<&Value> {
        let found = carriers.iter().find(|carrier| carrier["slug"] == slug);
        found.with_context(|| format!("there is no carrier `{slug}`; `waybill carriers` lists them"))
    };
    match &order.command {
        None if order.json => writeln!(out, "{}", json!(carriers))?,
        None => table(&carriers, out)?,
        Some(CarriersCommand::Show { slug }) if order.json => writeln!(out, "{}", find(slug)?)?,
        Some(CarriersCommand::Show { slug }) => show(find(slug)?, out)?,
        Some(CarriersCommand::Plan) => plan(&budgets(&carriers)?, order.json, out)?,
        Some(CarriersCommand::Lift { slug }) => {
            find(slug)?;
            let api = Api::new(api.as_deref().unwrap_or_default())?;
            api.patch(&format!("/v1/carriers/{slug}"), &json!({ "refuses_automation": false })).await?;
            writeln!(out, "{slug}: the mark is lifted; the carrier is asked again, by one probe first")?;
        }
    }
    Ok(())
}

/// A running process's interface.
struct Api {
    http: reqwest::Client,
    base: String,
}

impl Api {
    fn new(base: &str) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned() })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(self.http.patch(format!("{}{path}", self.base)).json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let answer =
            answer::with_key(request).send().await.with_context(|| format!("{} does not answer", self.base))?;
        let status = answer.status();
        if status == reqwest::StatusCode::UNAUTHORIZED {
            bail!("{} wants a key; put it into {}", self.base, answer::KEY);
        }
        let body = answer::json(answer).await.unwrap_or_default();
        if !status.is_success() {
            bail!("{} answered {status}: {}", self.base, body["detail"].as_str().unwrap_or_default());
        }
        Ok(body)
    }
}

/// What can be told without a running process; states are absent.
fn offline(config: &Config) -> Result<Vec<Value>> {
    let catalog = Catalog::load(&config.adapters)?;
    let policy = CarrierPolicy::default();
    let told = |adapter: &std::sync::Arc<waybill_adapters::Adapter>| {
        let own = config.fetcher.carriers.get(&adapter.slug);
        let budget = own.map_or_else(|| adapter.budget.clone(), |own| adapter.budget.with(&own.budget));
        let asked = look_at(&catalog, &config.fetcher, &adapter.slug, &policy);
        json!({
            "slug": adapter.slug, "name": adapter.name, "basis": adapter.basis.as_str(),
            "sources": adapter.sources.iter().map(|source| &source.name).collect::<Vec<_>>(),
            "languages": adapter.languages, "enabled": asked.is_ok(), "why_not": asked.as_ref().err(),
            "requests_per_look": asked.as_ref().map_or(1, |look| look.requests),
            "numbers_per_look": asked.map_or(1, |look| look.numbers), "budget_name": adapter.budget_name, "budget": budget,
            "adapter": { "version": adapter.version, "mapping_version": adapter.mapping.version },
        })
    };
    Ok(catalog.all().map(told).collect())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// One word for how a carrier is.
fn state_of(carrier: &Value) -> String {
    let fetcher = &carrier["state"]["fetcher"];
    if carrier["enabled"] == false {
        return "off".to_owned();
    }
    if carrier["refuses_automation"].is_object() {
        return "refuses automation".to_owned();
    }
    match (fetcher["block_reason"].as_str(), carrier["state"].is_object()) {
        (Some(reason), _) if is_ahead(&fetcher["blocked_until"]) => format!("left alone: {reason}"),
        (_, true) => "asked".to_owned(),
        (_, false) => "on".to_owned(),
    }
}

fn is_ahead(instant: &Value) -> bool {
    let until: Option<waybill_schemas::WallMs> = serde_json::from_value(instant.clone()).ok();
    until.is_some_and(|until| until > waybill_runtime::Clocks::real().wall())
}

fn robots_of(carrier: &Value) -> String {
    let verdicts = carrier["robots"].as_object();
    let told = verdicts.into_iter().flatten().map(|(host, verdict)| {
        let may = if verdict["allowed"] == true { "allows" } else { "forbids" };
        format!("{host} {may} ({})", text(&verdict["because"]))
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "-".to_owned() } else { told.join("; ") }
}

fn degraded_of(carrier: &Value) -> String {
    let reasons = carrier["degraded"]["reasons"].as_array();
    let reasons: Vec<&str> = reasons.into_iter().flatten().filter_map(Value::as_str).collect();
    if reasons.is_empty() { "-".to_owned() } else { reasons.join(",") }
}

fn table(carriers: &[Value], out: &mut dyn Write) -> Result<()> {
    let sources_of = |carrier: &Value| {
        let sources = carrier["sources"].as_array().into_iter().flatten().filter_map(Value::as_str);
        sources.collect::<Vec<_>>().join(",")
    };
    let wide = carriers.iter().map(|carrier| sources_of(carrier).len()).fold("SOURCES".len(), usize::max);
    writeln!(
        out,
        "{:<22} {:<8} {:<wide$} {:>9} {:>8} {:>8}  {:<24} {:<22} ROBOTS",
        "CARRIER", "BASIS", "SOURCES", "REQ/S", "ACTIVE", "QUEUE", "STATE", "DEGRADED"
    )?;
    for carrier in carriers {
        let scheduler = &carrier["state"]["scheduler"];
        // As text, because JSON values take no notice of a width.
        let rate = carrier["budget"]["rate_per_second"].to_string();
        let count = |value: &Value| value.as_u64().map_or("-".to_owned(), |count| count.to_string());
        writeln!(
            out,
            "{:<22} {:<8} {:<wide$} {:>9} {:>8} {:>8}  {:<24} {:<22} {}",
            text(&carrier["slug"]),
            text(&carrier["basis"]),
            sources_of(carrier),
            rate,
            count(&scheduler["active"]),
            count(&scheduler["queue"]),
            state_of(carrier),
            degraded_of(carrier),
            robots_of(carrier)
        )?;
    }
    Ok(())
}

fn show(carrier: &Value, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{} ({})", text(&carrier["name"]), text(&carrier["slug"]))?;
    let budget = &carrier["budget"];
    let lines = [
        ("state", state_of(carrier)),
        ("why off", text(&carrier["why_not"]).to_owned()),
        ("budget", format!("{}: {budget}", text(&carrier["budget_name"]))),
        ("adapter", text(&carrier["adapter"]["version"]).to_owned()),
        ("robots.txt", robots_of(carrier)),
        ("degraded", degraded_of(carrier)),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| value != "-") {
        writeln!(out, "  {name:<11} {value}")?;
    }
    let more = ["refuses_automation", "drift", "canary", "state"];
    for name in more.iter().filter(|name| !carrier[**name].is_null()) {
        writeln!(out, "  {name:<11} {}", carrier[*name])?;
    }
    if !carrier["adapter"]["refused"].is_null() {
        writeln!(out, "  {:<11} {}", "refused", carrier["adapter"]["refused"])?;
    }
    Ok(())
}

/// A budget and what it carries.
#[derive(Debug, Clone, PartialEq)]
struct Carried {
    name: String,
    carriers: Vec<String>,
    /// Looks per second that it sustains.
    looks_per_second: f64,
    /// Numbers tracked now, where a process was asked.
    active: Option<u64>,
}

/// Budgets of the carriers that are on: the strictest of those that share one, and the most requests that a number needs.
fn budgets(carriers: &[Value]) -> Result<Vec<Carried>> {
    let mut found: BTreeMap<String, (Carried, f64)> = BTreeMap::new();
    for carrier in carriers.iter().filter(|carrier| carrier["enabled"] == true) {
        let slug: CarrierSlug = text(&carrier["slug"]).parse()?;
        let budget: Budget = serde_json::from_value(carrier["budget"].clone())?;
        let figure = |name: &str| carrier[name].as_f64().unwrap_or(1.0).max(1.0);
        let requests = figure("requests_per_look") / figure("numbers_per_look");
        let quota = budget.daily_quota.as_ref().map_or(f64::INFINITY, |quota| f64::from(quota.requests) / DAY_S);
        let rate = budget.rate_per_second.min(quota);
        let name = carrier["budget_name"].as_str().unwrap_or(slug.as_str()).to_owned();
        let active = carrier["state"]["scheduler"]["active"].as_u64();
        let carried = Carried { name: name.clone(), carriers: Vec::new(), looks_per_second: f64::INFINITY, active };
        let (carried, most) = found.entry(name).or_insert((carried, 0.0));
        *most = most.max(requests);
        carried.carriers.push(slug.to_string());
        carried.looks_per_second = carried.looks_per_second.min(rate / *most);
    }
    Ok(found.into_values().map(|(carried, _)| carried).collect())
}

fn plan(budgets: &[Carried], as_json: bool, out: &mut dyn Write) -> Result<()> {
    if as_json {
        let told = |carried: &Carried| {
            let numbers: BTreeMap<&str, u64> =
                INTERVALS.iter().map(|(name, seconds)| (*name, (carried.looks_per_second * seconds) as u64)).collect();
            json!({
                "budget": carried.name, "carriers": carried.carriers, "active": carried.active,
                "looks_per_second": carried.looks_per_second, "numbers_at_interval": numbers,
            })
        };
        writeln!(out, "{}", json!(budgets.iter().map(told).collect::<Vec<_>>()))?;
        return Ok(());
    }
    write!(out, "{:<22} {:>9} {:>9}", "BUDGET", "LOOKS/S", "ACTIVE")?;
    for (name, _) in INTERVALS {
        write!(out, " {:>12}", format!("at {name}"))?;
    }
    writeln!(out, "  CARRIERS")?;
    for carried in budgets {
        let active = carried.active.map_or("-".to_owned(), |active| active.to_string());
        write!(out, "{:<22} {:>9.3} {active:>9}", carried.name, carried.looks_per_second)?;
        for (_, seconds) in INTERVALS {
            write!(out, " {:>12}", (carried.looks_per_second * seconds) as u64)?;
        }
        writeln!(out, "  {}", carried.carriers.join(","))?;
    }
    writeln!(out, "numbers that each budget can look at once an interval; retries and first looks come on top")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn carrier(slug: &str, rate: f64, quota: Option<u32>, requests: u32) -> Value {
        let quota = quota.map(|requests| json!({ "requests": requests }));
        let mut budget = json!({ "rate_per_second": rate, "burst": 1, "concurrency": 1, "min_interval_s": 60 });
        if let Some(quota) = quota {
            budget["daily_quota"] = quota;
        }
        json!({ "slug": slug, "enabled": true, "budget_name": "shared", "budget": budget, "requests_per_look": requests })
    }

    #[test]
    fn a_shared_budget_carries_what_its_strictest_figures_allow() {
        let carriers = [carrier("aa", 2.0, None, 1), carrier("bb", 5.0, Some(86_400), 2)];
        let carried = budgets(&carriers).unwrap();
        assert_eq!(carried.len(), 1);
        // A request a second by quota, two requests a look.
        assert_eq!((carried[0].looks_per_second, carried[0].carriers.len()), (0.5, 2));
        let mut several = carrier("dd", 2.0, None, 2);
        several["numbers_per_look"] = json!(20);
        assert_eq!(budgets(&[several]).unwrap()[0].looks_per_second, 20.0);
        let mut off = carrier("cc", 0.001, None, 1);
        off["enabled"] = json!(false);
        assert_eq!(budgets(&[off]).unwrap(), vec![]);
    }

    #[test]
    fn columns_stand_under_each_other_however_long_an_entry_is() {
        let mut carriers = [carrier("aa", 0.25, None, 1), carrier("bb", 20.0, None, 1)];
        carriers[0]["sources"] = json!(["shipping-na", "shipping-eu", "fulfillment"]);
        let mut out = Vec::new();
        table(&carriers, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        let (rate, state) = (lines[0].find("REQ/S").unwrap() + "REQ/S".len(), lines[0].find("STATE").unwrap());
        assert!(lines[1][..rate].ends_with(" 0.25") && lines[2][..rate].ends_with(" 20.0"), "{out}");
        assert!(lines[1..].iter().all(|line| line[state..].starts_with("on ")), "{out}");
    }

    #[test]
    fn the_state_is_one_word_for_people() {
        let mut one = carrier("aa", 1.0, None, 1);
        assert_eq!(state_of(&one), "on");
        one["state"] = json!({ "fetcher": null });
        assert_eq!(state_of(&one), "asked");
        one["state"] =
            json!({ "fetcher": { "block_reason": "unreadable", "blocked_until": "2999-01-01T00:00:00.000Z" } });
        assert_eq!(state_of(&one), "left alone: unreadable");
        one["refuses_automation"] = json!({ "since": "2026-01-01T00:00:00.000Z" });
        assert_eq!(state_of(&one), "refuses automation");
        one["enabled"] = json!(false);
        assert_eq!(state_of(&one), "off");
    }
}
