//! Handshakes against servers whose certificates are right, or wrong in one way each.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        Authority::called("the authority")
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    fn server(&self, name: &str, expired: bool) -> ServerConfig {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

async fn handshake(clients: &TlsClients, host: &str, server: ServerConfig) -> Result<TlsStream<TcpStream>, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let accepted = TlsAcceptor::from(Arc::new(server)).accept(tcp).await;
        if let Ok(mut stream) = accepted {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    let tcp = TcpStream::connect(address).await.unwrap();
    clients.connect("up", host, tcp).await
}

#[tokio::test]
async fn a_good_certificate_is_accepted_and_http_1_1_is_spoken() {
    let authority = Authority::new();
    let clients = TlsClients::with_only_roots(authority.pem.as_bytes()).unwrap();
    let stream = handshake(&clients, "llm.test", authority.server("llm.test", false)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_second_connection_resumes_the_session() {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    let authority = Authority::new();
    let clients = TlsClients::with_only_roots(authority.pem.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(authority.server("llm.test", false)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(tcp).await.unwrap();
            stream.write_all(b"x").await.unwrap();
        }
    });
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = clients.connect("up", "llm.test", TcpStream::connect(address).await.unwrap()).await.unwrap();
        stream.read_u8().await.unwrap();
        kinds.push(stream.get_ref().1.handshake_kind());
    }
    assert_eq!(kinds, [Some(rustls::HandshakeKind::Full), Some(rustls::HandshakeKind::Resumed)]);
}

#[tokio::test]
async fn each_wrong_certificate_is_refused_and_said_why() {
    let authority = Authority::new();
    let clients = TlsClients::with_only_roots(authority.pem.as_bytes()).unwrap();
    let stranger = Authority::called("a stranger");
    let table = [
        (authority.server("other.test", false), "another name than llm.test"),
        (authority.server("llm.test", true), "has expired"),
        (stranger.server("llm.test", false), "unknown authority"),
    ];
    for (server, words) in table {
        let fault = handshake(&clients, "llm.test", server).await.unwrap_err();
        assert!(fault.contains(words), "{fault}");
    }
}

#[tokio::test]
async fn a_plain_server_is_recognised_as_such() {
    let authority = Authority::new();
    let clients = TlsClients::with_only_roots(authority.pem.as_bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await;
    });
    let fault = clients.connect("up", "llm.test", TcpStream::connect(address).await.unwrap()).await.unwrap_err();
    assert!(fault.contains("does not speak TLS"), "{fault}");
}

#[tokio::test]
async fn without_a_set_up_every_handshake_fails_in_words() {
    let authority = Authority::new();
    let fault = handshake(&TlsClients::none(), "llm.test", authority.server("llm.test", false)).await.unwrap_err();
    assert!(fault.contains("not set up"), "{fault}");
}

#[test]
fn an_extra_ca_must_be_certificates() {
    for pem in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(TlsClients::with_only_roots(pem), Err(TlsError::BadPem(_))));
    }
    let authority = Authority::new();
    let up = "up".into();
    assert!(TlsClients::with_platform_roots([Peer { name: &up, ca: Some(authority.pem.as_bytes()) }]).is_ok());
    assert!(matches!(
        TlsClients::with_platform_roots([Peer { name: &up, ca: Some(b"hello") }]),
        Err(TlsError::BadPem(_))
    ));
}
