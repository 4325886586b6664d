//! Holds the gateway to trusting a certificate authority for the upstream that names it, and for no other.
//!
//! Must not look into the gateway: what is seen is who gets a call.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::gateway::digest;
use crate::support::{KEY, TestGateway};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn called(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// A server with a certificate for `localhost` that gives every call the same answer; its port.
    async fn server(&self) -> u16 {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 * 1024];
                    while matches!(stream.read(&mut bytes).await, Ok(1..)) {
                        let answer =
                            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
                        stream.write_all(answer).await.unwrap();
                        stream.flush().await.unwrap();
                    }
                });
            }
        });
        port
    }
}

#[tokio::test]
async fn an_authority_is_trusted_for_the_upstream_that_names_it_alone() {
    let (ours, other) = (Authority::called("ours"), Authority::called("another"));
    let port = ours.server().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = format!(
        "[tenants.acme]\nkeys = [{{ sha256 = \"{}\", label = \"ci\" }}]\nplan = \"p\"\n[plans.p]\n",
        digest(KEY)
    );
    for (name, authority) in [("ours", &ours), ("another", &other)] {
        let path = folder.path().join(format!("{name}.pem"));
        std::fs::write(&path, &authority.pem).unwrap();
        config.push_str(&format!(
            "[upstreams.{name}]\nprovider = \"compatible\"\nbase_url = \"https://localhost:{port}/v1\"\n\
             credential = \"none\"\nca = \"{}\"\n[[routes]]\nmodels = [\"{name}\"]\nto = [\"{name}\"]\n",
            path.display()
        ));
    }
    let gateway = TestGateway::start(&config);
    let call = |model: &str| format!(r#"{{"model":"{model}","messages":[]}}"#);
    for _ in 0..2 {
        let answer = gateway.post("/v1/chat/completions", call("ours")).await;
        assert_eq!((answer.status(), &*answer.body), (200, &b"{}"[..]));
        let refused = gateway.post("/v1/chat/completions", call("another")).await;
        assert_eq!((refused.status(), refused.header("x-tollgate-error")), (503, Some("upstream_unavailable")));
    }
}
