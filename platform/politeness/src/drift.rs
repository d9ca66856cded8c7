//! Whether an adapter still fits its carrier: sliding windows per version, an alarm with hysteresis, and the comparison of
//! a candidate with the version in force. Pure: instants are parameters, and the state is what `waybill.carriers` records,
//! so whoever takes over goes on where the last owner stood.
//!
//! Each reason has a window of its own, counted in its own cases (answers, new events, numbers with a history), because a
//! carrier that is looked at often shows few new events. A window is eight blocks; the oldest falls out when the others
//! hold as much as the window should. An alarm begins at a threshold, once there are enough cases, and ends below a part of
//! it, once there are enough cases: too few never change anything. A new version begins with empty windows, and an alarm
//! that stood stays until the new version has shown that it is over.

use waybill_schemas::{
    WallMs,
    drift::{
        CarrierWatch, Degraded, DriftReason, DriftRules, History, LookFacts, ReadFacts, TrialFacts, TrialMode,
        TrialStop, TrialVerdict, TrialWatch, VersionWatch, Window, Windows,
    },
};

/// Blocks of a window.
const BLOCKS: u32 = 8;
/// Looks of the former version in a row after which it is taken to be in force again.
const STRAYS: u32 = 8;
/// Field names that are kept of a carrier.
const MOST_FIELDS: usize = 64;

/// What changed, for whoever tells it.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The carrier is degraded, or for other reasons than before.
    Degraded(Vec<DriftReason>),
    /// It no longer is.
    Recovered,
    /// The candidate was worse and is no longer tried.
    TrialStopped(TrialStop),
}

/// Takes in what one look showed of the adapter that read it.
#[must_use]
pub fn note_look(watch: &mut CarrierWatch, facts: &LookFacts, rules: &DriftRules, now: WallMs) -> Option<Change> {
    if facts.candidate {
        let trial = trial_of(watch, &facts.version, TrialMode::Live, now);
        count(&mut trial.candidate, &facts.read, rules);
        return judge(watch, rules, now);
    }
    let news = new_fields(watch, facts, rules);
    let version = version_of(watch, &facts.version, now);
    count(version, &facts.read, rules);
    if !facts.read.unreadable {
        note(&mut version.windows, DriftReason::UnknownFields, (1, u32::from(news)), rules);
    }
    version.shares = shares(&version.windows);
    alarm(watch, rules, now)
}

/// Takes in how a candidate and the version in force read the same bytes.
#[must_use]
pub fn note_trial(watch: &mut CarrierWatch, facts: &TrialFacts, rules: &DriftRules, now: WallMs) -> Option<Change> {
    let trial = trial_of(watch, &facts.version, TrialMode::Shadow, now);
    count(&mut trial.candidate, &facts.candidate, rules);
    cases(&mut trial.control, &facts.control, rules);
    trial.control_shares = shares(&trial.control);
    trial.differing += u64::from(!facts.same);
    judge(watch, rules, now)
}

/// Cases and bad ones of a window.
pub fn sum(window: &[[u32; 2]]) -> (u32, u32) {
    window.iter().fold((0, 0), |(cases, bad), block| (cases.saturating_add(block[0]), bad.saturating_add(block[1])))
}

/// The windows that a version's looks count into: those in force, or, for the last looks of the version before, its own.
fn version_of<'w>(watch: &'w mut CarrierWatch, version: &str, now: WallMs) -> &'w mut VersionWatch {
    if watch.stable.version == version {
        watch.strays = 0;
        return &mut watch.stable;
    }
    if watch.former.as_ref().is_some_and(|former| former.version == version) {
        watch.strays += 1;
        if watch.strays < STRAYS {
            return watch.former.get_or_insert_default();
        }
        // Not stragglers: somebody went back to it.
        let back = watch.former.take().unwrap_or_default();
        watch.former = Some(std::mem::replace(&mut watch.stable, back));
    } else {
        let fresh = VersionWatch { version: version.to_owned(), since: now, ..VersionWatch::default() };
        let before = std::mem::replace(&mut watch.stable, fresh);
        watch.former = (!before.version.is_empty()).then_some(before);
    }
    watch.strays = 0;
    &mut watch.stable
}

fn trial_of<'w>(watch: &'w mut CarrierWatch, version: &str, mode: TrialMode, now: WallMs) -> &'w mut TrialWatch {
    let same = watch.trial.as_ref().is_some_and(|trial| trial.candidate.version == version && trial.mode == mode);
    if !same {
        watch.trial = None;
    }
    watch.trial.get_or_insert_with(|| TrialWatch {
        candidate: VersionWatch { version: version.to_owned(), since: now, ..VersionWatch::default() },
        mode,
        ..TrialWatch::default()
    })
}

fn count(version: &mut VersionWatch, read: &ReadFacts, rules: &DriftRules) {
    version.looks += 1;
    cases(&mut version.windows, read, rules);
    version.shares = shares(&version.windows);
}

fn cases(windows: &mut Windows, read: &ReadFacts, rules: &DriftRules) {
    note(windows, DriftReason::Unreadable, (1, u32::from(read.unreadable)), rules);
    note(windows, DriftReason::Unmatched, (read.events, read.unmatched), rules);
    note(windows, DriftReason::Untimed, (read.events, read.untimed), rules);
    if read.history != History::Unjudged {
        let bad = matches!(read.history, History::Fewer | History::Gone);
        note(windows, DriftReason::Vanished, (1, u32::from(bad)), rules);
    }
}

fn note(windows: &mut Windows, reason: DriftReason, (more, bad): (u32, u32), rules: &DriftRules) {
    if more == 0 {
        return;
    }
    let window = windows.entry(reason).or_default();
    let block = (rules.window / BLOCKS).max(1);
    if window.last().is_none_or(|last| last[0] >= block) {
        window.push([0, 0]);
    }
    if let Some(last) = window.last_mut() {
        *last = [last[0].saturating_add(more), last[1].saturating_add(bad.min(more))];
    }
    shorten(window, rules.window);
}

/// Lets the oldest blocks go that the window does not need.
fn shorten(window: &mut Window, holds: u32) {
    let (mut cases, _) = sum(window);
    let mut gone = 0;
    while gone + 1 < window.len() && cases - window[gone][0] >= holds {
        cases -= window[gone][0];
        gone += 1;
    }
    window.drain(..gone);
}

fn shares(windows: &Windows) -> std::collections::BTreeMap<DriftReason, f64> {
    windows.iter().filter_map(|(reason, window)| Some((*reason, share(window, 1)?))).collect()
}

/// The share of bad cases, to a thousandth; absent with fewer cases than `least`.
fn share(window: &[[u32; 2]], least: u32) -> Option<f64> {
    let (cases, bad) = sum(window);
    (cases >= least.max(1)).then(|| (f64::from(bad) / f64::from(cases) * 1e3).round() / 1e3)
}

/// Whether an answer had fields that are new. Fields are learnt from a carrier's first answers, as many as a window holds,
/// and kept across versions: what a carrier's answers hold does not depend on who reads them.
fn new_fields(watch: &mut CarrierWatch, facts: &LookFacts, rules: &DriftRules) -> bool {
    let looks = watch.stable.looks + watch.former.as_ref().map_or(0, |former| former.looks);
    let learning = looks < u64::from(rules.window);
    let mut news = false;
    for field in &facts.unknown_fields {
        if watch.known_fields.contains(field) {
            continue;
        }
        if learning {
            if watch.known_fields.len() < MOST_FIELDS {
                watch.known_fields.push(field.clone());
            }
            continue;
        }
        // With that many unknown to the examples nothing can be concluded from one more.
        news |= watch.known_fields.len() < MOST_FIELDS;
        if watch.new_fields.len() < MOST_FIELDS && !watch.new_fields.contains(field) {
            watch.new_fields.push(field.clone());
        }
    }
    news
}

fn alarm(watch: &mut CarrierWatch, rules: &DriftRules, now: WallMs) -> Option<Change> {
    let standing = watch.degraded.as_ref();
    let stands = |reason: DriftReason| {
        let stood = standing.is_some_and(|degraded| degraded.reasons.contains(&reason));
        let threshold = rules.threshold(reason);
        let window = watch.stable.windows.get(&reason).map(Vec::as_slice).unwrap_or_default();
        match share(window, rules.least) {
            None => stood,
            Some(share) if stood => share >= threshold * rules.clear,
            Some(share) => share >= threshold,
        }
    };
    let reasons: Vec<DriftReason> = DriftReason::ALL.into_iter().filter(|reason| stands(*reason)).collect();
    match (&mut watch.degraded, reasons.is_empty()) {
        (None, true) => None,
        (Some(_), true) => {
            watch.degraded = None;
            watch.new_fields.clear();
            Some(Change::Recovered)
        }
        (Some(degraded), false) if degraded.reasons == reasons => None,
        (Some(degraded), false) => {
            degraded.reasons.clone_from(&reasons);
            Some(Change::Degraded(reasons))
        }
        (none, false) => {
            *none = Some(Degraded { since: now, reasons: reasons.clone() });
            Some(Change::Degraded(reasons))
        }
    }
}

/// Compares a candidate with the version in force: on the same bytes in a shadow trial, else on what each read.
fn judge(watch: &mut CarrierWatch, rules: &DriftRules, now: WallMs) -> Option<Change> {
    let CarrierWatch { trial: Some(trial), stable, .. } = watch else { return None };
    if trial.stopped.is_some() {
        return None;
    }
    let control = match trial.mode {
        TrialMode::Shadow => &trial.control,
        TrialMode::Live => &stable.windows,
    };
    trial.verdict = TrialVerdict::Undecided;
    for reason in DriftReason::ALL {
        let of = |windows: &Windows| share(windows.get(&reason).map(Vec::as_slice).unwrap_or_default(), rules.least);
        let candidate = of(&trial.candidate.windows);
        // Where the version in force reads nothing there is nothing to be worse than.
        let (Some(candidate), Some(control)) = (candidate, of(control)) else { continue };
        if candidate > control + rules.trial_margin {
            let stop = TrialStop { at: now, reason, candidate, control };
            trial.verdict = TrialVerdict::Worse;
            trial.stopped = Some(stop.clone());
            return Some(Change::TrialStopped(stop));
        }
        let better = candidate + rules.trial_margin < control;
        trial.verdict = match trial.verdict {
            _ if better => TrialVerdict::Better,
            TrialVerdict::Undecided => TrialVerdict::Same,
            standing => standing,
        };
    }
    None
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
