//! `[listen] tls`: certificate and key as PEM files, read and held against each other here, so that `check` names what is
//! wrong with them at the line and a renewed certificate that does not fit changes nothing. Both files belong to the
//! configuration: when one of them changes, it is read again. Called by `listen`.

use super::read::{Node, Section};
use super::source::Source;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore};

const TABLE: &str = "Write tls = { cert = \"PATH\", key = \"PATH\" }.";
const CERT: &str = "Name a PEM file with the certificate first and the ones that vouch for it behind, such as fullchain.pem; a path is seen from the folder of this configuration.";
const KEY: &str = "Name the PEM file of the certificate's private key, without a passphrase; a path is seen from the folder of this configuration.";
/// Bytes of such a file; a larger one is a mix-up.
const FILE_BYTES: u64 = 1 << 20;

/// What the gateway shows to prove who it is.
#[derive(Clone)]
pub struct Tls {
    /// The certificate's file.
    pub cert: PathBuf,
    /// The private key's file.
    pub key: PathBuf,
    /// What was read from them.
    pub identity: Arc<CertifiedKey>,
}

/// Neither of them is printed; the paths say enough.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("cert", &self.cert).field("key", &self.key).finish_non_exhaustive()
    }
}

/// A file of the two, where it stands in the configuration.
struct File<'t> {
    node: Node<'t>,
    path: PathBuf,
}

impl<'t> File<'t> {
    fn take(section: &mut Section<'t>, source: &mut Source<'_>, name: &'static str, mend: &str) -> Option<File<'t>> {
        let node = section.need(source, name, mend)?;
        let text = node.text(source, mend)?;
        if text.is_empty() || text.contains('\0') {
            node.mistake(source, "is not a path", mend);
            return None;
        }
        let path = source.resolve(text);
        source.note_file(path.clone());
        Some(File { node, path })
    }

    fn read(&self, source: &mut Source<'_>, mend: &str) -> Option<Vec<u8>> {
        read(&self.path).map_err(|problem| self.node.mistake(source, format!("{}: {problem}", self.path.display()), mend)).ok()
    }
}

pub(super) fn tls(node: &Node<'_>, source: &mut Source<'_>) -> Option<Tls> {
    let mut section = node.section(source, TABLE)?;
    let (cert, key) = (File::take(&mut section, source, "cert", CERT), File::take(&mut section, source, "key", KEY));
    section.finish(source);
    let (cert, key) = (cert?, key?);
    let chain = cert.read(source, CERT).and_then(|pem| {
        let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        chain.ok().filter(|chain| !chain.is_empty()).or_else(|| {
            cert.node.mistake(source, format!("{}: there is no certificate in it", cert.path.display()), CERT);
            None
        })
    });
    let private = key.read(source, KEY).and_then(|pem| {
        let locked = || String::from_utf8_lossy(&pem).contains("ENCRYPTED");
        PrivateKeyDer::from_pem_slice(&pem).ok().or_else(|| {
            let problem = if locked() { "the key needs a passphrase" } else { "there is no private key in it" };
            key.node.mistake(source, format!("{}: {problem}", key.path.display()), KEY);
            None
        })
    });
    let identity = match CertifiedKey::from_der(chain?, private?, &aws_lc_rs::default_provider()) {
        Ok(identity) => Arc::new(identity),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            key.node.mistake(source, "this is the key of another certificate", "Name the key that the certificate was made for; renewals change both files.");
            return None;
        }
        Err(Error::InvalidCertificate(_)) => {
            cert.node.mistake(source, format!("{}: its first certificate cannot be read", cert.path.display()), CERT);
            return None;
        }
        Err(_) => {
            key.node.mistake(source, format!("{}: this kind of key is not known here", key.path.display()), "Use an ECDSA, Ed25519 or RSA key.");
            return None;
        }
    };
    if std::fs::metadata(&key.path).is_ok_and(|found| found.mode() & 0o007 != 0) {
        source.warn("listen.tls.key", "everybody on this machine can read the private key", format!("chmod o-rwx {}", key.path.display()));
    }
    let tls = Tls { cert: cert.path, key: key.path, identity };
    if tls.is_of_authority() {
        source.warn(
            "listen.tls.cert",
            "the certificate is one of an authority (CA:TRUE), which `paraph connect` and other clients refuse as a gateway's own",
            "Make it with CA:FALSE: openssl req -x509 … -addext basicConstraints=critical,CA:FALSE.",
        );
    }
    Some(tls)
}

impl Tls {
    /// Whether the certificate is marked as an authority's, which strict clients do not accept from a server.
    fn is_of_authority(&self) -> bool {
        let verified = || {
            let leaf = self.identity.end_entity_cert().ok()?;
            let mut roots = RootCertStore::empty();
            roots.add(leaf.clone().into_owned()).ok()?;
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider())).build().ok()?;
            // The mark is looked at before the name.
            verifier.verify_server_cert(leaf, &[], &ServerName::try_from("localhost").ok()?, &[], UnixTime::now()).err()
        };
        verified().is_some_and(|error| format!("{error:?}").contains("CaUsedAsEndEntity"))
    }

    /// Whether the certificate is for this host, as it stands in a URL. `true` for what is no name at all.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let (Ok(name), Ok(certificate)) = (ServerName::try_from(host), self.identity.end_entity_cert().and_then(ParsedCertificate::try_from)) else {
            return true;
        };
        verify_server_name(&certificate, &name).is_ok()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let found = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("is not a file".into());
    }
    if found.len() > FILE_BYTES {
        return Err("is larger than 1 MiB".into());
    }
    std::fs::read(path).map_err(|error| error.to_string())
}
