//! The scheduler on the in-memory log under simulated time, with a world around it that is as unkind as the log allows:
//! outcomes late and twice, every class, schedulers killed at any moment, two at once who both believe that they own
//! everything, a zombie that goes on writing under epochs that are over, acknowledgements lost, offsets with gaps.
//!
//! The world is the fetcher and the normalizer in one. It reads requests in the order of the log and judges claims as a
//! fetcher does, so it is an independent witness of SCH-1 and SCH-2. The seed is printed; `WAYBILL_SEED` repeats one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and prints its seed"
)]

mod judge;
mod schedulers;
mod world;

use std::{sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{task::JoinHandle, time::sleep};
use waybill_schemas::{ShipmentKey, WallMs, command::CommandKind, topics::names};

use crate::{
    judge::judge,
    schedulers::{haunt, start},
    world::{at, new_world, order},
};

const PARTITIONS: u32 = 3;
const DAY: i64 = 86_400_000;
const START: WallMs = WallMs::new(1_790_000_000_000);
/// 120 days of journey in a little over four minutes.
const SCALE: f64 = 40_000.0;
const CARRIERS: [&str; 4] = ["alpha-post", "beta-express", "gamma-mail", "delta-parcel"];

async fn play(seed: u64) {
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let numbers: Vec<ShipmentKey> = (0..60_usize)
        .map(|index| {
            let carrier = CARRIERS[index % CARRIERS.len()].parse().unwrap();
            ShipmentKey::new(carrier, format!("PARCEL{index:04}").parse().unwrap())
        })
        .collect();
    let world = new_world(seed, &numbers, &mut rng).await;
    let fetchers: Vec<JoinHandle<()>> =
        (0..PARTITIONS).map(|partition| tokio::spawn(Arc::clone(&world).fetch(partition))).collect();

    let mut orders = 0;
    let mut running = vec![start(&world, "schedulers", "member-first")];
    for round in 0..40_u32 {
        for key in numbers.iter().skip(round as usize * 2).take(2) {
            orders += 1;
            order(&world, CommandKind::Register, key, orders).await;
        }
        sleep(Duration::from_millis(rng.random_range(50..3_000))).await;
        match rng.random_range(0..13) {
            0..3 => {
                let victim = running.swap_remove(rng.random_range(0..running.len()));
                victim.kill().await;
            }
            3 => {
                let leaving = running.swap_remove(0);
                leaving.shutdown.cancel();
                leaving.task.await.unwrap().unwrap();
            }
            // A second group: both sides believe that everything is theirs, and claim it from each other.
            4 => {
                let rival = start(&world, &format!("rival-{round}"), "rival");
                sleep(Duration::from_millis(rng.random_range(200..4_000))).await;
                rival.kill().await;
            }
            5 if running.len() < 3 => running.push(start(&world, "schedulers", &format!("member-{round}"))),
            6..8 => haunt(&world, &mut rng).await,
            // What was appended and not acknowledged, to whoever produces next.
            8..10 => world.embedded.faults().lose_produce_answers(rng.random_range(1..4)),
            10 => {
                let names = [names::SCHEDULE, names::FETCH_REQUESTS, names::OUTCOMES, names::COMMANDS];
                let place = at(names[rng.random_range(0..names.len())], rng.random_range(0..PARTITIONS));
                world.embedded.faults().skip_offsets(&place, rng.random_range(1..20)).await.unwrap();
            }
            _ => {
                let key = &numbers[rng.random_range(0..numbers.len())];
                let kinds = [CommandKind::Stop, CommandKind::Resume, CommandKind::Refresh, CommandKind::Register];
                for kind in kinds.into_iter().take(rng.random_range(1..=4)) {
                    orders += 1;
                    order(&world, kind, key, orders).await;
                }
            }
        }
        if running.is_empty() {
            running.push(start(&world, "schedulers", &format!("member-{round}")));
        }
    }
    // What was stopped on the way is registered once more, with new parameters for those who waited for some.
    for key in &numbers {
        orders += 1;
        order(&world, CommandKind::Register, key, orders).await;
    }
    sleep(Duration::from_secs(300)).await;
    for last in running {
        last.shutdown.cancel();
        last.task.await.unwrap().unwrap();
    }
    fetchers.iter().for_each(JoinHandle::abort);
    judge(&world, &numbers, seed).await;
}

#[tokio::test(start_paused = true)]
async fn sch_1_sch_2_hold_through_kills_rivals_and_zombies() {
    match std::env::var("WAYBILL_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => play(seed).await,
        None => {
            for seed in 1..=6 {
                play(seed).await;
            }
        }
    }
}
