//! The laws after every step of any history.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Order(CommandKind, u32),
    Dispatch(usize),
    Answer(usize, OutcomeClass, bool),
    Stale(usize),
    Wait(i64),
    Keep,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        4 => Just(CommandKind::Register),
        2 => Just(CommandKind::Lookup),
        1 => Just(CommandKind::Stop),
        1 => Just(CommandKind::Resume),
        1 => Just(CommandKind::Refresh),
        1 => Just(CommandKind::Forget),
        1 => Just(CommandKind::Replay),
    ];
    prop_oneof![
        3 => (kind, 0..6_u32).prop_map(|(kind, number)| Step::Order(kind, number)),
        3 => (1..4_usize).prop_map(Step::Dispatch),
        4 => (0..8_usize, 0..13_usize, any::<bool>())
            .prop_map(|(index, class, delivered)| Step::Answer(index, OutcomeClass::ALL[class], delivered)),
        1 => (0..8_usize).prop_map(Step::Stale),
        2 => prop_oneof![0..5_000_i64, 0..DAY, 0..40 * DAY].prop_map(Step::Wait),
        1 => Just(Step::Keep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Whatever happens in whatever order: every number is somewhere, none is handed out twice, credit adds up.
    #[test]
    fn sch_1_sch_2_the_laws_hold_after_every_step(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new(0.5, 2);
        let mut answered: Vec<Outcome> = Vec::new();
        for step in steps {
            match step {
                Step::Order(kind, number) => drop(bench.order(kind, number)),
                Step::Dispatch(most) => {
                    let before: Vec<ShipmentKey> = bench.under_way.iter().map(|(_, h)| h.request.key()).collect();
                    for request in bench.dispatch(most) {
                        prop_assert!(!before.contains(&request.key()), "handed out while under way");
                    }
                }
                Step::Answer(index, class, delivered) if !bench.under_way.is_empty() => {
                    let index = index % bench.under_way.len();
                    let mut kept = None;
                    let applied = bench.answer(index, |outcome| {
                        if outcome.kind == RequestKind::Poll || class == OutcomeClass::Expired {
                            outcome.class = class;
                        }
                        if delivered && outcome.kind == RequestKind::Poll {
                            outcome.status = Some(Status::Delivered);
                            outcome.sub_status = Some(SubStatus::DeliveredOther);
                        }
                        kept = Some(outcome.clone());
                    });
                    prop_assert_eq!(applied, Applied::Freed);
                    answered.extend(kept);
                }
                Step::Stale(index) if !answered.is_empty() => {
                    let now = bench.now();
                    let again = answered[index % answered.len()].clone();
                    prop_assert_eq!(bench.book.apply(again, &now), Applied::Ignored);
                }
                Step::Wait(ms) => {
                    bench.wait(ms);
                    let now = bench.now();
                    bench.book.tick(&now);
                    bench.book.sweep(&now);
                }
                Step::Keep => drop(bench.book.take_changes()),
                Step::Answer(..) | Step::Stale(_) => {}
            }
            prop_assert_eq!(bench.book.check(), Ok(()));
        }
    }
}
