//! What every listener holds to: no peer keeps a place for nothing, the number of connections is bounded, the end is orderly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise; its peers are its own"
)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use waybill_runtime::serve::{Limits, serve};

const ASK: &[u8] = b"GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ASK_SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n";
const BIG: usize = 64 << 20;
/// Longest time in which something must happen; reached only where it does not.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    at: SocketAddr,
    stop: CancellationToken,
    /// A permit for each slow request that has begun.
    begun: Arc<Semaphore>,
    /// Lets a slow request end.
    go_on: Arc<Notify>,
    served: JoinHandle<()>,
}

async fn start(limits: Limits) -> Server {
    start_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), limits)
}

/// Starts a server to which a peer has connected and sent this before: what it asks is there when its time begins to run,
/// however slow the peer is.
async fn start_asked(limits: Limits, ask: &[u8]) -> (Server, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    stream.write_all(ask).await.unwrap();
    (start_at(listener, limits), stream)
}

fn start_at(listener: TcpListener, limits: Limits) -> Server {
    let (begun, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = move || {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        async move {
            tell.add_permits(1);
            wait.notified().await;
            "slow"
        }
    };
    let router = Router::new()
        .route("/quick", get(async || "quick"))
        .route("/big", get(async || vec![0_u8; BIG]))
        .route("/slow", get(slow));
    let at = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, router, limits, stop.clone()));
    Server { at, stop, begun, go_on, served }
}

/// Reads until the text was seen; what was read.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&all).contains(text) {
            let mut some = [0_u8; 1_024];
            let read = stream.read(&mut some).await.unwrap();
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&some[..read]);
        }
    };
    timeout(PATIENCE, reading).await.expect("it answers");
    String::from_utf8(all).unwrap()
}

/// Waits for the peer to close; whether it did, a reset included.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

fn short() -> Limits {
    Limits { head: Duration::from_millis(100), ..Limits::of(8) }
}

/// Long enough to read a head that is there already.
fn brief() -> Limits {
    Limits { head: Duration::from_secs(1), ..Limits::of(8) }
}

fn long(connections: usize) -> Limits {
    Limits { head: Duration::from_secs(600), ..Limits::of(connections) }
}

#[tokio::test]
async fn a_half_sent_head_and_silence_are_closed() {
    let server = start(short()).await;
    let mut half = TcpStream::connect(server.at).await.unwrap();
    half.write_all(&ASK[..20]).await.unwrap();
    let mut silent = TcpStream::connect(server.at).await.unwrap();
    assert!(is_closed(&mut half).await, "the rest of the head never came");
    assert!(is_closed(&mut silent).await, "not a byte came");

    let (_server, mut idle) = start_asked(brief(), ASK).await;
    read_until(&mut idle, "quick").await;
    assert!(is_closed(&mut idle).await, "nothing was asked any more");
}

#[tokio::test]
async fn a_request_under_way_may_take_longer_than_its_head() {
    let (server, mut stream) = start_asked(brief(), ASK_SLOW).await;
    drop(timeout(PATIENCE, server.begun.acquire()).await.expect("it begins").unwrap());
    tokio::time::sleep(brief().head * 2).await;
    server.go_on.notify_one();
    read_until(&mut stream, "slow").await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up() {
    let server = start(Limits { stall: Duration::from_millis(100), ..long(1) }).await;
    let mut greedy = TcpStream::connect(server.at).await.unwrap();
    greedy.write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    // It reads nothing, and the only place is free again all the same.
    let mut next = TcpStream::connect(server.at).await.unwrap();
    next.write_all(ASK).await.unwrap();
    read_until(&mut next, "quick").await;
}

#[tokio::test]
async fn more_connections_than_allowed_wait_until_one_ends() {
    let server = start(long(1)).await;
    let mut first = TcpStream::connect(server.at).await.unwrap();
    first.write_all(ASK).await.unwrap();
    read_until(&mut first, "quick").await;

    let mut second = TcpStream::connect(server.at).await.unwrap();
    second.write_all(ASK).await.unwrap();
    let early = timeout(Duration::from_millis(300), second.read_u8()).await;
    assert!(early.is_err(), "answered beside the only connection that is allowed: {early:?}");

    drop(first);
    read_until(&mut second, "quick").await;
}

#[tokio::test]
async fn the_end_answers_what_is_under_way_and_closes_the_rest() {
    let server = start(long(8)).await;
    let mut busy = TcpStream::connect(server.at).await.unwrap();
    busy.write_all(ASK_SLOW).await.unwrap();
    drop(server.begun.acquire().await.unwrap());
    let mut idle = TcpStream::connect(server.at).await.unwrap();
    idle.write_all(ASK).await.unwrap();
    read_until(&mut idle, "quick").await;

    server.stop.cancel();
    assert!(is_closed(&mut idle).await);
    assert!(!server.served.is_finished(), "a request is under way");
    server.go_on.notify_one();
    read_until(&mut busy, "slow").await;
    assert!(is_closed(&mut busy).await);
    timeout(PATIENCE, server.served).await.expect("it ends").unwrap();
    assert!(TcpStream::connect(server.at).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_half_sent_head_does_not_hold_up_the_end() {
    let server = start(short()).await;
    let mut half = TcpStream::connect(server.at).await.unwrap();
    half.write_all(&ASK[..20]).await.unwrap();
    server.stop.cancel();
    timeout(PATIENCE, server.served).await.expect("it ends").unwrap();
    assert!(is_closed(&mut half).await);
}

#[tokio::test]
async fn who_drops_it_closes_everything() {
    let server = start(long(8)).await;
    let mut busy = TcpStream::connect(server.at).await.unwrap();
    busy.write_all(ASK_SLOW).await.unwrap();
    drop(server.begun.acquire().await.unwrap());
    server.served.abort();
    assert!(is_closed(&mut busy).await);
}
