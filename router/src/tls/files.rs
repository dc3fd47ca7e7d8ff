//! A certificate's two files, as they were read.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{TlsFault, loaded::Place};
use crate::config::tls::TlsSettings;

/// Compared as a whole: times of files tell less than what is in them.
#[derive(Clone, PartialEq, Eq)]
pub struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    pub fn read(settings: &TlsSettings) -> Result<Self, TlsFault> {
        let read = |place: Place| std::fs::read(place.path(settings)).map_err(|error| place.fault(settings, error));
        Ok(Self {
            cert: read(Place::Certificate)?,
            key: read(Place::Key)?,
        })
    }

    pub fn chain(&self, settings: &TlsSettings) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.cert).collect();
        let chain = chain.map_err(|error| Place::Certificate.fault(settings, error))?;
        if chain.is_empty() {
            return Err(Place::Certificate.fault(settings, "holds no certificate in PEM"));
        }
        Ok(chain)
    }

    pub fn key(&self, settings: &TlsSettings) -> Result<PrivateKeyDer<'static>, TlsFault> {
        use rustls::pki_types::pem::Error;
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            Error::NoItemsFound => Place::Key.fault(settings, "holds no private key in PEM"),
            error => Place::Key.fault(settings, error),
        })
    }
}
