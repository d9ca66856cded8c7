//! A process of services: its parts run side by side; the first that ends by itself ends all, with its reason.
//!
//! Order of ending: readiness turns 503 → `admin.drain_delay_ms` → services drain → the admin listener closes → ClickHouse's
//! child ends. The budgets add up to less than 20 seconds, whatever the log or ClickHouse do meanwhile:
//!
//! | | at most |
//! |---|---|
//! | drain delay | 5.0 s (default 0.2 s) |
//! | services drain, side by side | what is left of 15.0 s |
//! | ClickHouse's child | 3.0 s |
//! | the runtime's last tasks | 1.0 s |
//! | sum | 19.0 s |
//!
//! Within the services' share: a fetcher gives look-ups under way 6 s, then 2 s to write results, 2 s to commit and 2 s to
//! leave; scheduler, normalizer and store drain for 5 s (`drain_ms`), then 2 s each to commit and to leave; the API answers
//! calls under way for 8 s. What was not committed is done again by whoever comes next (LOG-1).

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, anyhow};
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use waybill_clickhouse::embedded::EmbeddedClickHouse;
use waybill_runtime::{Health, admin, telemetry};

use crate::config::{AdminConfig, MAX_DRAIN_DELAY_MS};

/// Drain delay and drain together.
const DRAIN: Duration = Duration::from_secs(15);
/// How long ClickHouse's child may take.
const CLICKHOUSE: Duration = Duration::from_secs(3);
/// How long the runtime waits for what is still running after all that.
pub(crate) const RUNTIME: Duration = Duration::from_secs(1);
/// A process ends within this after a signal.
const WHOLE: Duration = Duration::from_secs(20);

const _: () = {
    assert!(DRAIN.as_millis() + CLICKHOUSE.as_millis() + RUNTIME.as_millis() < WHOLE.as_millis());
    assert!((MAX_DRAIN_DELAY_MS as u128) < DRAIN.as_millis() / 2);
};

/// A listener for a configured address, with the address that it has.
///
/// # Errors
/// One sentence that names the key.
pub(crate) async fn listen(
    what: &'static str,
    address: SocketAddr,
    key: &'static str,
) -> Result<(TcpListener, SocketAddr)> {
    let listener = admin::bind(what, address, key).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// A process that is running.
pub(crate) struct Process {
    /// Where its parts tell how they are.
    pub health: Health,
    /// Readiness says 503 from here on.
    stopping: CancellationToken,
    /// Services end.
    stop: CancellationToken,
    /// The admin listener closes.
    closed: CancellationToken,
    delay: Duration,
    /// Drain delay and drain together.
    drain: Duration,
    tasks: JoinSet<Result<&'static str>>,
    listener: JoinSet<()>,
}

impl Process {
    /// Begins with the admin listener: health is answered from the first moment on.
    pub(crate) fn new(config: &AdminConfig, listener: TcpListener) -> Self {
        let mut process = Self {
            health: Health::default(),
            stopping: CancellationToken::new(),
            stop: CancellationToken::new(),
            closed: CancellationToken::new(),
            delay: Duration::from_millis(config.drain_delay_ms),
            drain: DRAIN,
            tasks: JoinSet::new(),
            listener: JoinSet::new(),
        };
        let (health, metrics) = (process.health.clone(), telemetry::metrics_handle());
        let serving = admin::serve(listener, health, metrics, process.stopping.clone(), process.closed.clone());
        process.listener.spawn(serving);
        process
    }

    /// Told when services are to end.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a part under its name.
    pub(crate) fn spawn<F, E>(&mut self, name: &'static str, part: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<anyhow::Error> + Send + 'static,
    {
        self.tasks.spawn(async move {
            let ended: Result<(), E> = part.await;
            ended.map(|()| name).map_err(|error| error.into().context(format!("the {name} failed")))
        });
    }

    /// Runs until `until` is over or a part ends by itself, then drains.
    ///
    /// # Errors
    /// The reason of a part that ended by itself.
    pub(crate) async fn run_until(
        mut self,
        until: impl Future<Output = ()>,
        clickhouse: Option<EmbeddedClickHouse>,
    ) -> Result<()> {
        let reason = tokio::select! {
            () = until => None,
            ended = self.tasks.join_next() => ended.map(reason_of),
            ended = self.listener.join_next() => ended.map(|ended| match ended {
                Ok(()) => anyhow!("the admin listener ended by itself"),
                Err(error) => anyhow!("the admin listener broke down: {error}"),
            }),
        };
        if let Some(reason) = &reason {
            tracing::error!(reason = format!("{reason:#}"), "process.part_ended");
        }
        self.end(reason.is_none()).await;
        if let Some(clickhouse) = clickhouse {
            clickhouse.stop(CLICKHOUSE).await;
        }
        tracing::info!("process.stopped");
        reason.map_or(Ok(()), Err)
    }

    /// `orderly`: by a signal, so whoever sends us work is told first.
    async fn end(&mut self, orderly: bool) {
        self.stopping.cancel();
        let delay = if orderly { self.delay } else { Duration::ZERO };
        sleep(delay).await;
        self.stop.cancel();
        let drained = timeout(self.drain.saturating_sub(delay), async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok(Ok(name)) => tracing::info!(part = name, "process.part_drained"),
                    Ok(Err(error)) => tracing::warn!(error = format!("{error:#}"), "process.stop_failed"),
                    Err(error) => tracing::warn!(%error, "process.stop_failed"),
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!("process.drain_timeout");
        }
        self.closed.cancel();
        self.tasks.abort_all();
        self.listener.abort_all();
    }
}

fn reason_of(ended: Result<Result<&'static str>, JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(name)) => anyhow!("the {name} ended by itself"),
        Ok(Err(error)) => error,
        Err(error) => anyhow!("a part of the process broke down: {error}"),
    }
}

/// From this call on, and not only once it is awaited, SIGTERM and SIGINT no longer kill the process: they complete this.
pub(crate) fn signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    async fn next(stream: Option<Signal>) {
        match stream {
            Some(mut stream) => {
                stream.recv().await;
            }
            None => std::future::pending().await,
        }
    }
    // One that cannot be listened for goes on killing.
    let (terminate, interrupt) = (signal(SignalKind::terminate()).ok(), signal(SignalKind::interrupt()).ok());
    async {
        tokio::select! {
            () = next(terminate) => {}
            () = next(interrupt) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn process(delay_ms: u64) -> (Process, String) {
        let (listener, at) = listen("a test", SocketAddr::from(([127, 0, 0, 1], 0)), "admin.listen").await.unwrap();
        let config = AdminConfig { listen: at, drain_delay_ms: delay_ms };
        (Process::new(&config, listener), format!("http://{at}/health/ready"))
    }

    async fn ready(url: &str) -> u16 {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(url).send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// One with a worker that ends when it is told to.
    async fn at_work(delay_ms: u64) -> (Process, String) {
        let (mut process, url) = process(delay_ms).await;
        let (component, stop) = (process.health.component("worker"), process.stop());
        component.ready();
        process.spawn("worker", async move {
            stop.cancelled().await;
            drop(component);
            anyhow::Ok(())
        });
        (process, url)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn readiness_says_503_before_services_are_told_to_end() {
        // A delay that no machine is slow enough to wait out: what is seen is seen within it.
        let (long, url) = at_work(3_600_000).await;
        assert_eq!(ready(&url).await, 200);
        let told = long.stop();
        let running = tokio::spawn(long.run_until(async {}, None));
        let turned = timeout(PATIENCE, async {
            while ready(&url).await != 503 {
                sleep(Duration::from_millis(20)).await;
            }
        });
        turned.await.expect("readiness turns");
        assert!(!told.is_cancelled(), "services work on while the balancer learns of it");
        running.abort();
        // And once a delay is over they are told.
        let (short, _) = at_work(10).await;
        let told = short.stop();
        timeout(PATIENCE, short.run_until(async {}, None)).await.expect("it ends").unwrap();
        assert!(told.is_cancelled());
    }

    #[tokio::test]
    async fn a_part_that_ends_or_panics_ends_the_process_with_its_reason() {
        for (wanted, kind) in
            [("the worker failed: out of paper", 0), ("the worker ended by itself", 1), ("broke down", 2)]
        {
            let (mut process, _) = process(0).await;
            let stop = process.stop();
            process.spawn("other", async move {
                stop.cancelled().await;
                anyhow::Ok(())
            });
            process.spawn("worker", async move {
                match kind {
                    0 => Err(anyhow!("out of paper")),
                    1 => Ok(()),
                    _ => panic!("a bug"),
                }
            });
            let error = process.run_until(std::future::pending(), None).await.expect_err("it must tell why");
            assert!(format!("{error:#}").contains(wanted), "{error:#}");
        }
    }

    #[tokio::test]
    async fn a_service_that_does_not_drain_is_cut_off_in_time() {
        let (mut process, _) = process(300).await;
        process.drain = Duration::from_millis(600);
        process.spawn("worker", async {
            std::future::pending::<()>().await;
            anyhow::Ok(())
        });
        // Left alone it would go on for ever.
        timeout(PATIENCE, process.run_until(async {}, None)).await.expect("it is cut off").unwrap();
    }
}
