//! Certificates and the step from https to http, against the test hub behind TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use vae2x_hub::testing::{FakeHub, Reply};
use vae2x_hub::{HubConfig, HubError, resolve};

const REPO: &str = "o/n";
const FILE: &str = "vae.safetensors";

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

/// Passes what comes through TLS on to a hub, one request per connection. Runs until the test ends.
fn encrypt(hub: &FakeHub) -> String {
    let certificate = CertificateDer::from_pem_file(asset("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(asset("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (config, behind) = (Arc::new(config), hub.url().replace("http://", ""));
    let behind: SocketAddr = behind.parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that does not like the certificate hangs up.
            let _ = pass_on(StreamOwned::new(tls, stream), behind);
        }
    });
    url
}

fn pass_on(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    behind: SocketAddr,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let mut hub = TcpStream::connect(behind)?;
    hub.write_all(&request)?;
    let mut answer = Vec::new();
    hub.read_to_end(&mut answer)?;
    stream.write_all(&answer)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn config(home: &Path, endpoint: &str) -> HubConfig {
    HubConfig {
        endpoint: endpoint.to_owned(),
        token: Some("hf_secret".to_owned()),
        certificates: Some(asset("ca.pem")),
        ..HubConfig::at_home(home)
    }
}

#[test]
fn a_server_is_trusted_by_its_certificate() {
    let (hub, home) = (FakeHub::start(), tempfile::tempdir().unwrap());
    hub.publish(REPO, &[(FILE, b"weights")]);
    let url = encrypt(&hub);
    hub.answer_with(move |asked, usual| match asked.path.contains("/resolve/") {
        // The hub behind TLS does not know its address.
        true => {
            let path = asked.path.replace("/o/n/resolve/", "/cdn/o/n/");
            usual.with("Location", &path)
        }
        false => usual,
    });
    let found = resolve(REPO, &config(home.path(), &url), &mut |_| ()).unwrap();
    assert_eq!(std::fs::read(found).unwrap(), b"weights");
    assert!(hub.take_asked().iter().all(|a| a.authorization.is_some()));

    // The system's authorities, or those built in, have not signed it.
    let empty = tempfile::tempdir().unwrap();
    let untrusted = HubConfig {
        certificates: None,
        ..config(empty.path(), &url)
    };
    let error = resolve(REPO, &untrusted, &mut |_| ()).unwrap_err();
    assert!(matches!(error, HubError::NoNetwork { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(hub.take_asked().is_empty());
}

#[test]
fn the_token_is_not_sent_in_the_clear() {
    let plain = FakeHub::start();
    let (hub, home) = (FakeHub::start(), tempfile::tempdir().unwrap());
    for hub in [&hub, &plain] {
        hub.publish(REPO, &[(FILE, b"weights")]);
    }
    let url = encrypt(&hub);
    let there = plain.url();
    hub.answer_with(move |asked, _| Reply::redirect(&format!("{there}{}", asked.path)));
    let found = resolve(REPO, &config(home.path(), &url), &mut |_| ()).unwrap();
    assert_eq!(std::fs::read(found).unwrap(), b"weights");
    let asked = plain.take_asked();
    assert!(!asked.is_empty());
    assert!(
        asked
            .iter()
            .all(|a| !format!("{a:?}").contains("hf_secret"))
    );
}
