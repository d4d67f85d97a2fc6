//! `[listen] tls`: certificates and keys that are of no use, each told at its key; what they allow; what is warned of.
//! The files are made here, as an operator could have made them.

use super::{Config, Loaded, Mistake, SERVER, env};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A certificate for these names, and its key, in PEM.
fn made_for(names: &[&str]) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
    std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = made_for(&["paraph.example.org", "10.8.0.1"]);
    let (other, other_key) = made_for(&["other.example.org"]);
    let garbled = cert.replacen("\nMII", "\nAAA", 1);
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let texts = [("cert.pem", &cert), ("key.pem", &key), ("other.pem", &other), ("other.key", &other_key), ("garbled.pem", &garbled)];
    for (name, text) in texts.into_iter().chain([("locked.pem", &locked.to_owned()), ("empty.pem", &String::new())]) {
        write(folder.path(), name, text);
    }
    std::fs::File::create(folder.path().join("huge.pem")).unwrap().set_len(2 << 20).unwrap();
    folder
}

fn read(folder: &Path, lines: &str) -> Result<Loaded, Vec<Mistake>> {
    Config::parse(&format!("[listen]\naddress = \"0.0.0.0:8420\"\n{lines}\n{SERVER}"), "config.toml", folder, &env)
}

#[test]
fn files_that_are_of_no_use_are_told_at_their_key() {
    let folder = folder();
    for (cert, key, at, problem) in [
        ("nowhere.pem", "key.pem", "cert", "No such file"),
        ("empty.pem", "key.pem", "cert", "there is no certificate in it"),
        ("key.pem", "key.pem", "cert", "there is no certificate in it"),
        ("garbled.pem", "key.pem", "cert", "its first certificate cannot be read"),
        (".", "key.pem", "cert", "is not a file"),
        ("huge.pem", "key.pem", "cert", "is larger than 1 MiB"),
        ("cert.pem", "nowhere.pem", "key", "No such file"),
        ("cert.pem", "cert.pem", "key", "there is no private key in it"),
        ("cert.pem", "locked.pem", "key", "the key needs a passphrase"),
        ("cert.pem", "other.key", "key", "this is the key of another certificate"),
    ] {
        let found = read(folder.path(), &format!("tls = {{ cert = \"{cert}\", key = \"{key}\" }}")).unwrap_err();
        let [mistake] = &found[..] else { panic!("{cert} {key}: {found:#?}") };
        assert_eq!((mistake.key.as_str(), mistake.line), (format!("listen.tls.{at}").as_str(), 3), "{cert} {key}");
        assert!(mistake.problem.contains(problem), "{cert} {key}: {}", mistake.problem);
    }
}

#[test]
fn with_a_certificate_an_address_may_be_reached_and_links_begin_with_https() {
    let folder = folder();
    let loaded = read(folder.path(), "tls = { cert = \"cert.pem\", key = \"key.pem\" }\npublic_url = \"https://paraph.example.org:8420\"").unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.files, [folder.path().join("cert.pem"), folder.path().join("key.pem")], "a change of either is a reason to read again");
    let mut listen = loaded.config.listen;
    assert!(!format!("{listen:?}").contains("PRIVATE") && listen.listen_on("192.168.0.5:1").is_ok());
    listen.public_url = None;
    assert_eq!((listen.is_exposed(), listen.url_at("192.168.0.5:1")), (false, "https://192.168.0.5:1".into()));
}

#[test]
fn an_authoritys_certificate_as_the_gateways_own_is_warned_of() {
    let folder = folder();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["paraph.example.org".to_owned()]).unwrap();
    for (is_ca, warned) in [(rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained), 1), (rcgen::IsCa::ExplicitNoCa, 0)] {
        params.is_ca = is_ca;
        write(folder.path(), "cert.pem", &params.self_signed(&key).unwrap().pem());
        write(folder.path(), "key.pem", &key.serialize_pem());
        let loaded = read(folder.path(), "tls = { cert = \"cert.pem\", key = \"key.pem\" }\npublic_url = \"https://paraph.example.org\"").unwrap();
        let mend = loaded.warnings.iter().filter(|warning| warning.key == "listen.tls.cert" && warning.mend.contains("CA:FALSE"));
        assert_eq!(mend.count(), warned, "{:?}", loaded.warnings);
    }
}

#[test]
fn what_browsers_would_refuse_and_what_others_can_read_is_warned_of() {
    let folder = folder();
    let warned = |lines: &str| -> Vec<String> {
        let loaded = read(folder.path(), &format!("tls = {{ cert = \"cert.pem\", key = \"key.pem\" }}\n{lines}")).unwrap();
        loaded.warnings.into_iter().map(|warning| warning.key).collect()
    };
    assert!(warned("public_url = \"https://10.8.0.1:8420\"").is_empty());
    assert_eq!(warned("public_url = \"https://10.8.0.2:8420\""), ["listen.tls.cert"]);
    assert_eq!(warned("public_url = \"https://desk.example.org\""), ["listen.tls.cert"]);
    assert!(warned("public_url = \"https://desk.example.org\"\ntrusted_proxies = [\"10.0.0.1\"]").is_empty(), "browsers see the proxy's");
    assert_eq!(warned("public_url = \"http://paraph.example.org\""), ["listen.public_url"]);
    std::fs::set_permissions(folder.path().join("key.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(warned("public_url = \"https://10.8.0.1\""), ["listen.tls.key"]);
}
