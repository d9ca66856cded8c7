//! The round trip: what a generated carrier shows, read through its adapter, is exactly what the ledger says it showed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use waybill_adapters::{Adapter, Answer, Answers, Catalog, Context, ReadOutcome, StepName, assess};
use waybill_schemas::{OutcomeClass, Status};

use crate::{
    AnswerKind, CARRIERS, End, JourneyMap, Parcel, Plan, PlanConfig, Replay, Scan, Shown,
    desk::{self, Layout, Question, Verdict},
    journey::DAY,
    shapes::{self, Ask},
};

const BEGIN: i64 = 1_790_000_000_000;

fn plan(parcels: u32) -> Plan {
    let clock = JourneyMap { anchor_ms: BEGIN, start_ms: BEGIN + 45 * DAY, scale: 36_000.0 };
    Plan::draw(PlanConfig::new(11, parcels, clock))
}

fn catalog() -> Catalog {
    Catalog::default().with_dir(&CARRIERS).unwrap_or_else(|error| panic!("{error}"))
}

fn adapter<'c>(catalog: &'c Catalog, slug: &str) -> &'c Adapter {
    catalog.all().find(|adapter| adapter.slug.as_str() == slug).unwrap_or_else(|| panic!("{slug} has no adapter"))
}

/// One step's answer as it was taken.
pub(crate) struct Taken {
    pub(crate) step: StepName,
    pub(crate) answer: shapes::Answer,
}

/// A look-up as a fetcher does it, without a network: the adapter's steps against the desk.
fn look_up(
    plan: &Plan,
    adapter: &Adapter,
    number: &str,
    params: &BTreeMap<String, String>,
    at: i64,
) -> (Vec<Taken>, Vec<Shown>) {
    let none = BTreeMap::new();
    let replay = Replay::default();
    let (mut values, mut taken, mut shown) = (BTreeMap::new(), Vec::new(), Vec::new());
    for step in &adapter.sources[0].steps {
        let context = Context { number, params, secrets: &none, taken: &values, lang: &adapter.languages[0] };
        let request = step.request(&context).unwrap();
        let ask = Ask {
            step: step.name.as_str().to_owned(),
            headers: request.headers.into_iter().collect(),
            body: request.body.unwrap_or_default(),
        };
        let carrier = adapter.slug.as_str();
        let question = Question { carrier, number, journey_ms: at, ask: &ask, layout: Layout::Planned };
        let Verdict::Generated(answer, shows) = desk::answer(plan, &replay, question) else {
            panic!("{carrier} does not have the step {}", step.name)
        };
        let headers: Vec<(String, String)> =
            answer.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let seen = Answer {
            step: step.name.as_str(),
            status: answer.status,
            content_type: Some(answer.content_type),
            headers: &headers,
            body: &answer.body,
            ..Answer::default()
        };
        values.extend(step.take(&seen).unwrap());
        shown = shows;
        taken.push(Taken { step: step.name, answer });
    }
    (taken, shown)
}

fn read(adapter: &Adapter, number: &str, taken: &[Taken]) -> ReadOutcome {
    let answers: Vec<Answer<'_>> = taken
        .iter()
        .map(|one| Answer {
            step: one.step.as_str(),
            status: one.answer.status,
            content_type: Some(one.answer.content_type),
            body: &one.answer.body,
            ..Answer::default()
        })
        .collect();
    adapter.read(&Answers { number: Some(number), list: &answers })
}

fn extracted(outcome: &ReadOutcome) -> Vec<Shown> {
    let one = |event: &waybill_schemas::event::RawEvent| Shown {
        time_raw: event.time_raw.clone(),
        text: event.text.clone(),
        location: event.location.clone(),
        code: event.code.clone(),
    };
    let mut all: Vec<Shown> = outcome.events.iter().map(one).collect();
    all.sort();
    all
}

/// Journey instants worth looking at: before everything, at each happening and a moment before it, after everything.
fn instants(plan: &Plan, parcel: &Parcel) -> BTreeSet<i64> {
    let journey = plan.journey(parcel);
    let around = journey.happenings.iter().flat_map(|happening| [happening.appears_ms - 1, happening.appears_ms]);
    around.chain([BEGIN - 1, BEGIN + 45 * DAY]).collect()
}

#[test]
fn nrm_1_what_is_shown_is_what_is_read_at_every_instant() {
    let (plan, catalog) = (plan(400), catalog());
    let (mut looks, mut kinds) = (0_u32, BTreeSet::new());
    for parcel in plan.parcels() {
        let adapter = adapter(&catalog, parcel.carrier);
        for at in instants(&plan, parcel) {
            let (taken, mut shown) = look_up(&plan, adapter, &parcel.number, &parcel.params, at);
            let outcome = read(adapter, &parcel.number, &taken);
            let kind = taken.last().unwrap().answer.kind.clone();
            let place = || format!("{} at {at}: {kind:?} {:?} {:?}", parcel.number, outcome.class, outcome.detail);
            shown.sort();
            assert_eq!(extracted(&outcome), shown, "{}", place());
            let fits = match kind {
                AnswerKind::Events => matches!(outcome.class, OutcomeClass::Tracked | OutcomeClass::RegisteredNoScan),
                AnswerKind::Announced => outcome.class == OutcomeClass::RegisteredNoScan,
                AnswerKind::NotFound => outcome.class == OutcomeClass::NotFound,
                AnswerKind::ChangedLayout => outcome.class == OutcomeClass::Unreadable,
                _ => false,
            };
            assert!(fits, "{}", place());
            // NRM-5: every printed time is understood.
            assert!(
                outcome.events.iter().all(|event| event.time.as_ref().is_some_and(|time| time.utc.is_some())),
                "{}",
                place()
            );
            looks += 1;
            kinds.insert(format!("{kind:?}"));
        }
    }
    assert!(looks > 8_000, "{looks}");
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}

#[test]
fn whoever_has_read_everything_stands_where_the_plan_ends() {
    let (plan, catalog) = (plan(1_000), catalog());
    let mut ends = BTreeSet::new();
    for parcel in plan.parcels() {
        let adapter = adapter(&catalog, parcel.carrier);
        let (taken, _) = look_up(&plan, adapter, &parcel.number, &parcel.params, BEGIN + 45 * DAY);
        let view = assess(adapter, &read(adapter, &parcel.number, &taken), Some(&parcel.number));
        assert_eq!(view.sub_status, parcel.end.sub_status(), "{} {:?}", parcel.number, parcel.end);
        ends.insert(parcel.end);
    }
    assert!(ends.is_superset(&BTreeSet::from([End::Delivered, End::Returned, End::Lost, End::CustomsHold])));
}

#[test]
fn every_wording_has_the_meaning_of_its_scan() {
    let catalog = catalog();
    for shape in shapes::ALL {
        let adapter = adapter(&catalog, shape.profile().slug);
        for scan in Scan::ALL {
            for wording in 0..2 {
                let happening = crate::Happening { appears_ms: 0, at_ms: 0, scan, place: None, wording };
                let Some(shown) = shape.shown(&happening) else { continue };
                let event =
                    waybill_schemas::event::RawEvent { text: shown.text, code: shown.code, ..Default::default() };
                let mapped = adapter.mapping.map(&event);
                assert_eq!(mapped.sub_status, Some(scan.sub_status()), "{} {:?}", adapter.slug, event.text);
            }
        }
    }
}

#[test]
fn adapters_and_profiles_agree() {
    let catalog = catalog();
    assert_eq!(catalog.all().count(), shapes::ALL.len());
    let plan = plan(200);
    for shape in shapes::ALL {
        let profile = shape.profile();
        let adapter = adapter(&catalog, profile.slug);
        assert!((adapter.budget.rate_per_second - profile.rate).abs() < f64::EPSILON, "{}", profile.slug);
        assert_eq!(adapter.sources[0].steps.len(), profile.requests_per_look as usize, "{}", profile.slug);
        for parcel in plan.parcels().iter().filter(|parcel| parcel.carrier == profile.slug) {
            assert!(adapter.numbers[0].fits(&parcel.number), "{}", parcel.number);
            assert!(adapter.needs.iter().all(|need| parcel.params.contains_key(need)));
        }
    }
}

#[test]
fn a_token_a_cookie_and_a_postcode_must_be_right() {
    let (plan, catalog) = (plan(200), catalog());
    let at = BEGIN + 45 * DAY;
    for (slug, step, status) in [("dandelion-paket", "detail", 401), ("paper-crane-express", "detail", 403)] {
        let parcel = plan.parcels().iter().find(|parcel| parcel.carrier == slug).unwrap();
        let ask = Ask { step: step.to_owned(), ..Ask::default() };
        let question =
            Question { carrier: slug, number: &parcel.number, journey_ms: at, ask: &ask, layout: Layout::Planned };
        let Verdict::Generated(answer, shown) = desk::answer(&plan, &Replay::default(), question) else {
            panic!("{slug}")
        };
        assert_eq!((answer.status, answer.kind, shown.len()), (status, AnswerKind::Refused, 0));
    }
    let parcel = plan.parcels().iter().find(|parcel| parcel.carrier == "tidewater-freight").unwrap();
    let adapter = adapter(&catalog, parcel.carrier);
    let wrong = BTreeMap::from([("postcode".to_owned(), "0000".to_owned())]);
    let (taken, shown) = look_up(&plan, adapter, &parcel.number, &wrong, at);
    let outcome = read(adapter, &parcel.number, &taken);
    assert_eq!((outcome.class, outcome.needs, shown.len()), (OutcomeClass::NeedsData, vec!["postcode".to_owned()], 0));
}

/// The adapters' examples are what the simulator shows of chosen parcels; `WAYBILL_BLESS=1` writes their bodies anew (and
/// the golden test then their results).
#[test]
fn examples_are_what_the_simulator_shows() {
    let (plan, catalog) = (plan(400), catalog());
    let bless = std::env::var_os("WAYBILL_BLESS").is_some();
    let carriers = std::path::Path::new("../carriers");
    for shape in shapes::ALL {
        let slug = shape.profile().slug;
        let adapter = adapter(&catalog, slug);
        let mut of_carrier = plan.parcels().iter().filter(|parcel| parcel.carrier == slug);
        let parcel = of_carrier.find(|parcel| parcel.end == End::Delivered && !parcel.page_changes).unwrap();
        let journey = plan.journey(parcel);
        let before_the_door = |happening: &&crate::Happening| happening.scan.sub_status().status() == Status::InTransit;
        let middle = journey.happenings[1..].iter().take_while(before_the_door).last().unwrap().appears_ms;
        let cases = [
            ("not-yet-known", BEGIN - 1, false),
            ("announced", journey.happenings[0].appears_ms, false),
            ("on-its-way", middle, false),
            ("delivered", BEGIN + 45 * DAY, false),
            ("redesigned", BEGIN + 45 * DAY, true),
        ];
        for (name, at, redesigned) in cases {
            let (mut taken, _) = look_up(&plan, adapter, &parcel.number, &parcel.params, at);
            if redesigned {
                let visible = journey.visible(at);
                let view = shapes::View {
                    seed: plan.config().seed,
                    number: &parcel.number,
                    params: &parcel.params,
                    now_ms: at,
                    known: true,
                    rows: shapes::rows(shape, visible),
                };
                let last = taken.last_mut().unwrap();
                let ask = Ask { step: last.step.as_str().to_owned(), ..Ask::default() };
                last.answer = shape.redesigned(&ask, &view).unwrap();
            }
            let folder = carriers.join(slug).join("examples").join(name);
            if bless {
                std::fs::create_dir_all(&folder).unwrap();
            }
            let mut stated = format!("number: {}\nanswers:\n", parcel.number);
            for one in &taken {
                let ending =
                    ["html", "json", "xml"].into_iter().find(|kind| one.answer.content_type.contains(kind)).unwrap();
                let file = format!("{}.{ending}", one.step);
                stated.push_str(&format!(
                    "  - {{step: {}, file: {file}, status: {}, content_type: {}}}\n",
                    one.step, one.answer.status, one.answer.content_type
                ));
                same(&folder.join(&file), &one.answer.body, bless);
            }
            same(&folder.join("answers.yaml"), stated.as_bytes(), bless);
        }
    }
}

fn same(path: &std::path::Path, content: &[u8], bless: bool) {
    if bless {
        std::fs::write(path, content).unwrap();
    }
    let found = std::fs::read(path).unwrap_or_default();
    assert!(found == content, "{} differs from what the simulator shows (WAYBILL_BLESS=1 writes it)", path.display());
}
