//! Certificates of the test's own making, and clients that trust them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SerialNumber, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tempfile::TempDir;
use tokio::{io, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Who signs, and a folder for what it signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    folder: TempDir,
}

/// A certificate and its key, in PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Herald's tests");
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root");
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("root.pem"), root.pem()).expect("room for it");
        Self {
            certificate: root.der().clone(),
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    /// For `localhost` and 127.0.0.1, known by its number.
    pub fn signs(&self, number: u64) -> Pair {
        self.signs_until(number, 4000)
    }

    pub fn signs_until(&self, number: u64, year: i32) -> Pair {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.serial_number = Some(SerialNumber::from(number));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What foreign clients are told to trust.
    pub fn root(&self) -> PathBuf {
        self.path("root.pem")
    }

    /// Writes the files that [`Self::settings`] names.
    pub fn install(&self, pair: &Pair) {
        for (name, text) in [("tls.crt", &pair.cert), ("tls.key", &pair.key)] {
            // As certificate managers do: never half a file.
            let new = self.path("new");
            std::fs::write(&new, text).expect("room for it");
            std::fs::rename(new, self.path(name)).expect("it takes its place");
        }
    }

    /// `cert_file` and `key_file`.
    pub fn settings(&self) -> String {
        let line = |name: &str, path: &Path| format!("{name} = {:?}\n", path.to_str().expect("UTF-8"));
        line("cert_file", &self.path("tls.crt")) + &line("key_file", &self.path("tls.key"))
    }

    /// A client that trusts this authority and offers these protocols.
    pub fn trusted(&self, protocols: &[&str]) -> Trusting {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        // What is looked at is a whole handshake each time.
        config.resumption = rustls::client::Resumption::disabled();
        Trusting(Arc::new(config))
    }
}

#[derive(Clone)]
pub struct Trusting(Arc<ClientConfig>);

impl Trusting {
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(address).await?).await
    }

    pub async fn over(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(self.0.clone()).connect(name, stream).await
    }
}

/// The number of the certificate that the server showed.
pub fn number(stream: &TlsStream<TcpStream>) -> u64 {
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    // SEQUENCE { SEQUENCE { [0] version, INTEGER serial …: both of the test's are short.
    let der: &[u8] = &chain[0];
    let at = der
        .windows(5)
        .position(|bytes| bytes == [0xa0, 3, 2, 1, 2])
        .expect("version 3")
        + 5;
    let length = usize::from(der[at + 1]);
    assert!(der[at] == 2 && length <= 8, "a short serial number");
    der[at + 2..at + 2 + length]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
