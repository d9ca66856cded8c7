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
    robots::Robots,
    turnstile::Turnstile,
};

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// What is known of one file, and until when.
type Known = Option<(WallMs, Arc<Robots>)>;

/// Robots by the URL of their file. Whoever asks for one that is being fetched waits for it; others are not held up.
#[derive(Debug, Default)]
pub(crate) struct RobotsCache {
    files: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Known>>>>,
}

impl RobotsCache {
    fn file(&self, place: &Url) -> Arc<tokio::sync::Mutex<Known>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
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
    ) -> Result<Arc<Robots>, Failure> {
        let file = self.file(&place);
        let mut known = file.lock().await;
        if let Some((until, robots)) = known.as_ref()
            && tools.clocks.wall() < *until
        {
            return Ok(Arc::clone(robots));
        }
        let outgoing = Outgoing { method: reqwest::Method::GET, url: place, headers: Vec::new(), body: None };
        let answer = match tools.exchange.send(turnstile, outgoing, &Jar::default(), bounds, spent).await {
            Ok(answer) => answer,
            // Too large is read as far as the RFC asks; the rest is ignored.
            Err(Failure::Unreadable(_, body)) if !body.is_empty() => {
                Incoming { status: 200, headers: Vec::new(), body }
            }
            Err(Failure::Unreadable(detail, _)) => return Err(Failure::Unavailable(detail)),
            Err(failure) => return Err(failure),
        };
        let robots = match answer.status {
            200..=299 => Robots::parse(&answer.body),
            // Redirects that led nowhere count as "not there", as does every 4xx but "too many requests".
            300..=428 | 430..=499 => Robots::AllowAll,
            status => return Err(Failure::Unavailable(format!("answered with {status}"))),
        };
        let robots = Arc::new(robots);
        let until = tools.clocks.wall().plus_ms(DAY_MS);
        *known = Some((until, Arc::clone(&robots)));
        Ok(robots)
    }
}
