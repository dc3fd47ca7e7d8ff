//! From settings and files to what a handshake needs, or to what is wrong with them.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::CertificateDer,
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use x509_cert::{Certificate, der::Decode};

use super::{HTTP1, HTTP2, files::Files};
use crate::config::{
    Faults,
    tls::{TlsSettings, TlsVersion},
};

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Certificate,
    Key,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    #[error("{}: {what}", path.display())]
    File { place: Place, path: PathBuf, what: String },
    #[error("the key is not that of the certificate in {}", cert.display())]
    OtherKey { cert: PathBuf },
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

impl Place {
    pub fn path(self, settings: &TlsSettings) -> &Path {
        match self {
            Self::Certificate => &settings.cert_file,
            Self::Key => &settings.key_file,
        }
    }

    pub fn fault(self, settings: &TlsSettings, what: impl Display) -> TlsFault {
        TlsFault::File {
            place: self,
            path: self.path(settings).to_owned(),
            what: what.to_string(),
        }
    }
}

impl TlsFault {
    /// As a fault of the settings at `path`.
    pub fn of(&self, path: &str) -> Faults {
        let mut faults = Faults::default();
        faults.add(format!("{path}.{}", self.setting()), self.to_string());
        faults
    }

    /// The setting that it is about.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::File {
                place: Place::Certificate,
                ..
            }
            | Self::Setup(_) => "cert_file",
            Self::File { place: Place::Key, .. } | Self::OtherKey { .. } => "key_file",
        }
    }
}

/// A certificate that is ready for use.
pub struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    pub(super) files: Files,
    /// Unix seconds.
    pub(super) expires: u64,
}

impl Loaded {
    pub fn read(settings: &TlsSettings) -> Result<Self, TlsFault> {
        Self::new(settings, Files::read(settings)?)
    }

    pub(super) fn new(settings: &TlsSettings, files: Files) -> Result<Self, TlsFault> {
        let chain = files.chain(settings)?;
        let expires = expires(&chain[0], settings)?;
        let provider = Arc::new(ring::default_provider());
        let certified = certified(settings, &files, chain, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(settings.min_version))
            .map_err(TlsFault::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        // Whoever comes back, after a restart of another node for example, costs no signature again.
        config.ticketer = ring::Ticketer::new().map_err(TlsFault::Setup)?;
        Ok(Self {
            config: Arc::new(config),
            files,
            expires,
        })
    }
}

static FROM_1_2: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static FROM_1_3: [&SupportedProtocolVersion; 1] = [&TLS13];

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        TlsVersion::Tls12 => &FROM_1_2,
        TlsVersion::Tls13 => &FROM_1_3,
    }
}

fn certified(
    settings: &TlsSettings,
    files: &Files,
    chain: Vec<CertificateDer<'static>>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsFault> {
    let key = files.key(settings)?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| Place::Key.fault(settings, error))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsFault::OtherKey {
            cert: settings.cert_file.clone(),
        }),
        Err(error) => Err(Place::Certificate.fault(settings, error)),
    }
}

/// When it ends, in Unix seconds. One that clients would refuse by its dates is as good as none.
fn expires(certificate: &CertificateDer<'_>, settings: &TlsSettings) -> Result<u64, TlsFault> {
    let fault = |what: &str| Place::Certificate.fault(settings, what);
    let parsed =
        Certificate::from_der(certificate).map_err(|error| fault(&format!("no X.509 certificate: {error}")))?;
    let validity = parsed.tbs_certificate.validity;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (begin, end): (Duration, Duration) = (
        validity.not_before.to_unix_duration(),
        validity.not_after.to_unix_duration(),
    );
    if now > end {
        return Err(fault(&format!("the certificate ended at {}", validity.not_after)));
    }
    if now < begin {
        return Err(fault(&format!(
            "the certificate begins only at {}",
            validity.not_before
        )));
    }
    Ok(end.as_secs())
}
