//! A proxy between the store and ClickHouse that cuts inserts in the middle, swallows answers, or is not there.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Everything passes.
    Open,
    /// Every connection is closed at once.
    Down,
    /// An insert's request is cut in its middle.
    CutInserts,
    /// An insert is stored, its answer never arrives.
    SwallowAnswers,
}

pub struct Proxy {
    pub url: String,
    pub struck: Arc<Notify>,
    mode: Arc<AtomicU8>,
    strikes: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn before(url: &str) -> Self {
        let upstream: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mode, struck) = (Arc::new(AtomicU8::new(Mode::Open as u8)), Arc::new(Notify::new()));
        let strikes = Arc::new(AtomicU32::new(0));
        let way = Way { upstream, mode: Arc::clone(&mode), struck: Arc::clone(&struck), strikes: Arc::clone(&strikes) };
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(way.clone().carry(client));
            }
        });
        Self { url, struck, mode, strikes, task }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Inserts that were cut or whose answers were swallowed.
    pub fn strikes(&self) -> u32 {
        self.strikes.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Way {
    upstream: SocketAddr,
    mode: Arc<AtomicU8>,
    struck: Arc<Notify>,
    strikes: Arc<AtomicU32>,
}

impl Way {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == mode as u8
    }

    fn strike(&self) {
        self.strikes.fetch_add(1, Ordering::SeqCst);
        self.struck.notify_one();
    }

    async fn carry(self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(self.upstream).await else { return };
        let (mut up, mut down) = (vec![0_u8; 1 << 14], vec![0_u8; 1 << 14]);
        let mut inserting = false;
        loop {
            if self.is(Mode::Down) {
                return;
            }
            tokio::select! {
                read = client.read(&mut up) => {
                    let Ok(length @ 1..) = read else { return };
                    let bytes = &up[..length];
                    if bytes.starts_with(b"POST ") {
                        let has = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
                        inserting = has(b"query=INSERT") && has(b"insert_deduplication_token");
                    }
                    if inserting && self.is(Mode::CutInserts) {
                        let _ = server.write_all(&bytes[..length - length / 4]).await;
                        let _ = server.flush().await;
                        return self.strike();
                    }
                    if server.write_all(bytes).await.is_err() { return }
                }
                read = server.read(&mut down) => {
                    let Ok(length @ 1..) = read else { return };
                    if inserting && self.is(Mode::SwallowAnswers) {
                        return self.strike();
                    }
                    if client.write_all(&down[..length]).await.is_err() { return }
                }
            }
        }
    }
}
