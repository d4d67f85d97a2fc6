//! An authority of our own and the certificates that it signs, right ones and wrong ones.

use crate::world::World;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::{Value, json};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Of `ca.pem` in the world.
    pub file: String,
}

impl Authority {
    pub fn new(world: &World) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = world.path("ca.pem");
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), file: file.display().to_string() }
    }

    /// What a server is started with: a certificate for this name, signed by the authority.
    pub fn server(&self, world: &World, tls: &str, name: &str) -> Value {
        self.with(world, tls, &CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    pub fn expired(&self, world: &World) -> Value {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.with(world, "starttls", &params)
    }

    fn with(&self, world: &World, tls: &str, params: &CertificateParams) -> Value {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        written(world, tls, &certificate, &key)
    }
}

/// A certificate that nobody signed but itself.
pub fn self_signed(world: &World) -> Value {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    written(world, "starttls", &certificate, &key)
}

/// The same as openssl makes it when it is not told otherwise: an authority's.
pub fn self_signed_authority(world: &World) -> Value {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    written(world, "starttls", &certificate, &key)
}

fn written(world: &World, tls: &str, certificate: &str, key: &KeyPair) -> Value {
    let (cert, private) = (world.path("cert.pem"), world.path("key.pem"));
    std::fs::write(&cert, certificate).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    json!({"tls": tls, "cert": cert, "key": private})
}
