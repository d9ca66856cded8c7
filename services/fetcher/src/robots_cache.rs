//! What robots.txt said, for a day. It is fetched through the same turnstile as everything else and counts as a request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::cookie::Jar;
use url::Url;
use waybill_schemas::WallMs;

use crate::{
    exchange::{Bounds, Failure, Incoming, Outgoing},
    look_up::Tools,
    robots::{MAX_BYTES, Robots},
    turnstile::Turnstile,
};

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// Hosts that are remembered; beyond it remembering begins anew.
const MOST_FILES: usize = 1_024;

/// What one file said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) robots: Robots,
    /// The status it was answered with, for people.
    pub(crate) because: String,
    pub(crate) since: WallMs,
    pub(crate) until: WallMs,
}

type Known = Option<Arc<Told>>;

/// Robots by the URL of their file. Whoever asks for one that is being fetched waits for it; others are not held up.
#[derive(Debug, Default)]
pub(crate) struct RobotsCache {
    files: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Known>>>>,
}

impl RobotsCache {
    fn file(&self, place: &Url) -> Arc<tokio::sync::Mutex<Known>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= MOST_FILES {
            files.clear();
        }
        Arc::clone(files.entry(place.as_str().to_owned()).or_default())
    }

    /// The rules at `place`. An answer of 4xx means that there are none; 5xx or no answer means that nothing may be asked.
    pub(crate) async fn get(
        &self,
        tools: &Tools,
        turnstile: &Arc<Turnstile>,
        place: Url,
        bounds: &Bounds,
        spent: &mut u32,
    ) -> Result<Arc<Told>, Failure> {
        let file = self.file(&place);
        let mut known = file.lock().await;
        if let Some(told) = known.as_ref().filter(|told| tools.clocks.wall() < told.until) {
            return Ok(Arc::clone(told));
        }
        let outgoing = Outgoing { method: reqwest::Method::GET, url: place, headers: Vec::new(), body: None };
        let answer = match tools.exchange.send(turnstile, outgoing, &Jar::default(), bounds, spent).await {
            Ok(answer) => answer,
            // Too large is read as far as the RFC asks; the rest is ignored.
            Err(Failure::Unreadable(_, body)) if body.len() >= MAX_BYTES => {
                Incoming { status: 200, headers: Vec::new(), body }
            }
            Err(Failure::Unreadable(detail, _)) => return Err(Failure::Unavailable(detail)),
            Err(failure) => return Err(failure),
        };
        let (robots, because) = of_status(&answer)?;
        let since = tools.clocks.wall();
        let told = Arc::new(Told { robots, because, since, until: since.plus_ms(DAY_MS) });
        *known = Some(Arc::clone(&told));
        Ok(told)
    }
}

/// What an answer means (RFC 9309, 2.3.1): rules, no rules, or that nothing may be asked.
fn of_status(answer: &Incoming) -> Result<(Robots, String), Failure> {
    match answer.status {
        status @ 200..=299 => Ok((Robots::parse(&answer.body), format!("{status}"))),
        // Redirects that led nowhere count as "not there", as does every 4xx but "too many requests".
        status @ (300..=428 | 430..=499) => Ok((Robots::AllowAll, format!("{status}: there is no robots.txt"))),
        status => Err(Failure::Unavailable(format!("answered with {status}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn answered(status: u16, body: &str) -> Result<(Robots, String), Failure> {
        of_status(&Incoming { status, headers: Vec::new(), body: body.as_bytes().to_vec().into() })
    }

    #[test]
    fn a_missing_file_allows_and_a_broken_server_forbids() {
        let nothing = "User-agent: *\nDisallow: /\n";
        assert!(!answered(200, nothing).unwrap().0.allows("/x"));
        for status in [301, 400, 401, 403, 404, 410] {
            assert!(answered(status, nothing).unwrap().0.allows("/x"), "{status}");
        }
        for status in [429, 500, 503, 599] {
            assert!(matches!(answered(status, ""), Err(Failure::Unavailable(_))), "{status}");
        }
    }
}
