//! ClickHouse by TLS: what is written and read through it, and what is told when it does not come about.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use bytes::Bytes;
use clickhouse::Client;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use waybill_clickhouse::{
    client::{ClientOptions, build, told},
    migrations::apply,
};

use crate::{
    Event, insert, row,
    support::{MIGRATIONS, migrated, missing, no_library, start, stop},
};

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

fn no_openssl() -> bool {
    Command::new("openssl").arg("version").output().is_err_and(|error| missing("openssl", &error.to_string()))
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority that nobody knows. All have one name: who makes a new one usually calls it like the old one.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = "[req]\ndistinguished_name = name\nx509_extensions = authority\nprompt = no\n\
                      [name]\nCN = test\n\
                      [authority]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n";
        fs::write(folder.path().join("openssl.cnf"), config).unwrap();
        openssl(folder.path(), &format!("req -x509 -config openssl.cnf {NEW_KEY} -days 2 -keyout ca.key -out ca.pem"));
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// The server's side of TLS, with a certificate for a name such as `DNS:clickhouse.example`.
    fn server(&self, name: &str) -> ServerConfig {
        let folder = self.0.path();
        fs::write(folder.join("server.cnf"), format!("basicConstraints = CA:FALSE\nsubjectAltName = {name}\n"))
            .unwrap();
        openssl(
            folder,
            &format!("req -config openssl.cnf -subj /CN=server {NEW_KEY} -keyout server.key -out server.csr"),
        );
        openssl(
            folder,
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.cnf -out server.pem",
        );
        let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap()
    }
}

/// Serves every connection so; where.
async fn listen<F, S>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// TLS in front of a server that speaks plainly.
async fn front(server: ServerConfig, to: SocketAddr) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(server));
    listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // A client that refuses the certificate goes away; its own side tells why.
            let Ok(mut inside) = acceptor.accept(stream).await else { return };
            let Ok(mut outside) = TcpStream::connect(to).await else { return };
            let _ = copy_bidirectional(&mut inside, &mut outside).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clickhouse_behind_tls_is_written_and_read_when_its_authority_is_named() {
    if no_library() || no_openssl() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    migrated(&store).await;
    let authority = Authority::new();
    let plain = store.url().strip_prefix("http://").unwrap().parse().unwrap();
    let at = front(authority.server("IP:127.0.0.1"), plain).await;
    let writer = store.writer();
    let options = ClientOptions::new(format!("https://{at}"), writer.user, writer.password);
    let client = build(&ClientOptions { ca_file: Some(authority.file()), ..options }).unwrap();

    insert(&client, 0..20_000).await.unwrap();
    let read = client.query("SELECT ?fields FROM events ORDER BY id").fetch_all::<Event>().await.unwrap();
    assert!(read.into_iter().eq((0..20_000).map(row)));
    assert_eq!(apply(&client, MIGRATIONS).await.unwrap(), [0_u32; 0], "its ledger is read as well");
    stop(store).await;
}

/// What both an insert and a read fail with.
async fn said(client: &Client) -> [String; 2] {
    let read = client.query("SELECT 1").fetch_one::<u8>().await.unwrap_err();
    let mut insert = client.insert_formatted_with("INSERT INTO events (id) FORMAT TabSeparated");
    let written = match insert.send(Bytes::from_static(b"1\n")).await {
        Ok(()) => insert.end().await.unwrap_err(),
        Err(error) => error,
    };
    [told(&read), told(&written)]
}

#[tokio::test]
async fn what_stands_between_both_sides_is_one_sentence_with_the_setting_and_the_remedy() {
    if no_openssl() {
        return;
    }
    let (ours, other) = (Authority::new(), Authority::new());
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let tls = front(ours.server("IP:127.0.0.1"), nowhere).await;
    let elsewhere = front(ours.server("DNS:clickhouse.example"), nowhere).await;
    let plain = listen(|mut stream: TcpStream| async move {
        assert_ne!(stream.read(&mut [0; 4_096]).await.unwrap(), 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    })
    .await;
    let mute = listen(|mut stream: TcpStream| async move {
        assert_ne!(stream.read(&mut [0; 4_096]).await.unwrap(), 0);
    })
    .await;
    for (scheme, at, ca_file, expected) in [
        (
            "https",
            tls,
            None,
            "that this machine trusts; name a file with the authority's certificate (PEM) in clickhouse.ca_file",
        ),
        ("https", tls, Some(other.file()), "signed by no authority in clickhouse.ca_file"),
        (
            "https",
            elsewhere,
            Some(ours.file()),
            "is for clickhouse.example and not for 127.0.0.1; write in clickhouse.url",
        ),
        ("https", plain, Some(ours.file()), "clickhouse.url does not speak TLS there; write http://"),
        ("https", mute, Some(ours.file()), "clickhouse.url ends the connection before TLS is agreed"),
        ("http", tls, None, "write https://"),
        ("http", mute, None, "clickhouse.url ends the connection without an answer"),
    ] {
        let options = ClientOptions::new(format!("{scheme}://{at}"), "default", "");
        let client = build(&ClientOptions { ca_file, ..options }).unwrap();
        for sentence in said(&client).await {
            assert!(sentence.contains(expected), "{scheme}: {expected}: {sentence}");
        }
    }
}
