//! Calls over TLS; what handshakes refuse is tested in `net::tls`.

use std::collections::HashMap;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::support::*;

/// A server with a certificate for `llm.test`, its port, and that certificate.
async fn server() -> (u16, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["llm.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            tokio::spawn(async move {
                let mut bytes = vec![0; 65536];
                while matches!(stream.read(&mut bytes).await, Ok(1..)) {
                    stream.write_all(OK).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    (port, cert.pem())
}

/// Such a server, and a client that trusts it.
async fn secured() -> (u16, Client) {
    let (port, pem) = server().await;
    (port, knowing(TlsClients::with_only_roots(pem.as_bytes()).unwrap()))
}

fn knowing(tls: TlsClients) -> Client {
    let names = ["llm.test", "other.test"].map(|name| (name.to_owned(), vec!["127.0.0.1".parse().unwrap()]));
    Client::new(Arc::new(tls), Resolver::fixed(HashMap::from(names)), Arc::new(Ledger::default()))
}

#[tokio::test]
async fn calls_over_tls_share_a_connection() {
    let (port, client) = secured().await;
    let upstream = Arc::new(upstream(&format!("https://llm.test:{port}/v1")));
    for _ in 0..3 {
        assert_eq!(call(&client, &upstream).await.unwrap(), (200, "ok".into()));
        assert_eq!(client.connections("up"), 1);
    }
}

#[tokio::test]
async fn a_connection_made_for_one_name_never_serves_another() {
    let (port, client) = secured().await;
    call(&client, &Arc::new(upstream(&format!("https://llm.test:{port}")))).await.unwrap();
    let other = call(&client, &Arc::new(upstream(&format!("https://other.test:{port}")))).await.unwrap_err();
    assert!(matches!(&other, UpstreamError::Connect(why) if why.contains("another name than other.test")), "{other}");
    let plain = call(&client, &Arc::new(upstream(&format!("http://llm.test:{port}")))).await;
    assert!(plain.is_err(), "TLS is never left out");
}

#[tokio::test]
async fn the_roots_of_one_upstream_are_not_trusted_for_another() {
    let (port, pem) = server().await;
    let other = rcgen::generate_simple_self_signed(vec!["llm.test".to_owned()]).unwrap().cert.pem();
    let [trusting, strange, plain]: [Arc<str>; 3] = ["trusting".into(), "strange".into(), "plain".into()];
    let peers = [(&trusting, Some(pem.as_bytes())), (&strange, Some(other.as_bytes()))];
    let tls = TlsClients::with_platform_roots(peers.map(|(name, ca)| TlsPeer { name, ca })).unwrap();
    let client = knowing(tls);
    let named = |name: &Arc<str>| {
        Arc::new(Upstream { name: Arc::clone(name), ..upstream(&format!("https://llm.test:{port}")) })
    };
    for _ in 0..2 {
        assert_eq!(call(&client, &named(&trusting)).await.unwrap(), (200, "ok".into()));
        // Neither on its connection, which stands idle, nor on one of its own.
        for (name, words) in [(&strange, "the certificate of llm.test"), (&plain, "TLS was not set up")] {
            let error = call(&client, &named(name)).await.unwrap_err();
            assert!(matches!(&error, UpstreamError::Connect(why) if why.contains(words)), "{name}: {error}");
        }
    }
    assert_eq!(["trusting", "strange", "plain"].map(|name| client.connections(name)), [1, 0, 0]);
}
