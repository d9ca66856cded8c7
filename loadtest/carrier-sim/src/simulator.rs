//! Starting and stopping: the only part that holds a socket and a thread.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use axum::serve::ListenerExt;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::WallClock,
    ledger::{Ledger, LedgerError},
    misbehave::{Rule, Rules, TooManyRules},
    plan::{Plan, PlanConfig},
    replay::Replay,
    server::{self, Door},
    truth::{self, Truth},
};

/// How long requests under way may take when the simulator stops.
const LAST_REQUESTS: Duration = Duration::from_millis(500);

/// What a simulator is started with.
#[derive(Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. Loopback only: carriers that misbehave do not belong on a network.
    pub listen: SocketAddr,
    /// The generated carriers' parcels.
    pub plan: PlanConfig,
    /// Recorded answers, beside the generated ones.
    pub replay: Replay,
    /// Folder of the ledger; absent: in memory.
    pub ledger: Option<PathBuf>,
    /// Misbehaviour from the beginning.
    pub rules: Vec<Rule>,
}

impl Config {
    /// A free port on loopback, no recordings, a ledger in memory, good manners.
    pub fn new(plan: PlanConfig) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { listen, plan, replay: Replay::default(), ledger: None, rules: Vec::new() }
    }
}

/// The simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// An address beyond loopback.
    #[error("the simulator listens on loopback only; {0} is not, use 127.0.0.1:0")]
    NotLoopback(SocketAddr),
    /// The port is taken, or the like.
    #[error("the simulator cannot listen on {address}: {source}; use port 0 for a free one")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No thread or no runtime.
    #[error("the simulator's thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Too many rules.
    #[error(transparent)]
    Rules(#[from] TooManyRules),
}

/// A running simulator. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    door: Arc<Door>,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Starts answering, on a thread of its own; when this returns, requests are accepted.
    ///
    /// # Errors
    /// [`SimulatorError`], one sentence.
    pub fn start(config: Config) -> Result<Self, SimulatorError> {
        if !config.listen.ip().is_loopback() {
            return Err(SimulatorError::NotLoopback(config.listen));
        }
        let identity = serde_json::json!(config.plan).to_string();
        let ledger = match &config.ledger {
            Some(folder) => Ledger::open(folder, &identity)?,
            None => Ledger::in_memory(),
        };
        let mut rules = Rules::new(config.plan.seed);
        for rule in config.rules {
            rules.add(rule)?;
        }
        let failed = |source| SimulatorError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let door = Arc::new(Door {
            plan: Arc::new(Plan::draw(config.plan)),
            replay: config.replay,
            ledger: Arc::new(ledger),
            rules: Mutex::new(rules),
            clock: WallClock::start(),
            stop: CancellationToken::new(),
        });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SimulatorError::Thread)?;
        let serving = Arc::clone(&door);
        let work = move || {
            runtime.block_on(serve(listener, serving));
            runtime.shutdown_timeout(LAST_REQUESTS);
        };
        let thread = std::thread::Builder::new().name("carrier-sim".to_owned()).spawn(work);
        Ok(Self { address, door, thread: Some(thread.map_err(SimulatorError::Thread)?) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The address that `fetcher.routes` sends a carrier's steps to.
    pub fn route(&self) -> String {
        format!("http://{}/{{carrier}}/{{source}}/{{step}}/{{number}}", self.address)
    }

    /// What was answered.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.door.ledger)
    }

    /// What there is to answer.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.door.plan)
    }

    /// Per parcel of the plan, what was shown of it and whether its end was.
    pub fn truth(&self) -> Vec<Truth> {
        truth::of_all(&self.door.plan, &self.door.ledger).collect()
    }

    /// Journey time now, in milliseconds.
    pub fn journey_ms(&self) -> i64 {
        self.door.journey_ms()
    }

    /// Misbehaves from now on; answers the rule's number.
    ///
    /// # Errors
    /// [`TooManyRules`].
    pub fn misbehave(&self, rule: Rule) -> Result<u64, TooManyRules> {
        self.door.with_rules(|rules| rules.add(rule))
    }

    /// Behaves well again.
    pub fn behave(&self) {
        self.door.with_rules(Rules::clear);
    }

    /// Stops and waits until the last request is answered or given up, about a second at most.
    pub fn stop(mut self) {
        self.door.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("sim.thread_panicked");
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.door.stop.cancel();
    }
}

async fn serve(listener: TcpListener, door: Arc<Door>) {
    let stop = door.stop.clone();
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "sim.listen_failed"),
    };
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "sim.nodelay_failed");
        }
    });
    #[allow(clippy::disallowed_methods, reason = "its only peers are the tests and the demo beside it, on loopback")]
    let server = axum::serve(listener, server::router(door)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let last_call = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_REQUESTS).await;
    };
    tokio::select! {
        ended = server => if let Err(error) = ended { tracing::error!(%error, "sim.serve_failed") },
        () = last_call => {}
    }
}
