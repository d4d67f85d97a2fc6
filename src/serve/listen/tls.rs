//! TLS 1.2 and 1.3 in front of HTTP/1.1, with a certificate that can be replaced while connections are open: each keeps
//! what it began with, the next one gets the new one. Made by `serve::start`; `reload` replaces the certificate.

use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, ServerConfig};

/// A handle; clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// With this certificate for now.
    pub fn new(certificate: Arc<CertifiedKey>) -> Result<Tls, Error> {
        let current = Arc::new(Current(ArcSwap::new(certificate)));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_protocol_versions(&[&TLS13, &TLS12])?;
        let mut config = config.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { current, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// This certificate for connections that come from now on; whether it is another one.
    pub fn replace(&self, certificate: &Arc<CertifiedKey>) -> bool {
        let before = self.current.0.swap(certificate.clone());
        before.cert != certificate.cert
    }

    /// What handshakes are made with.
    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}
