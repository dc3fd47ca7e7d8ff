//! What an upstream's certificate is verified with.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::Fault;

/// Certificates of a file in PEM, or the system's.
pub(super) fn config(ca_file: Option<&Path>) -> Result<ClientConfig, Fault> {
    let roots = match ca_file {
        Some(path) => of_file(path)?,
        None => of_system()?,
    };
    with(roots)
}

/// Trusts nobody: for a connector that is never asked for TLS.
pub(super) fn none() -> Result<ClientConfig, Fault> {
    with(RootCertStore::empty())
}

fn with(roots: RootCertStore) -> Result<ClientConfig, Fault> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn of_file(path: &Path) -> Result<RootCertStore, Fault> {
    let fault = |what: String| Fault::CaFile(format!("{}: {what}", path.display()));
    let read = CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in read {
        let certificate = certificate.map_err(|error| fault(error.to_string()))?;
        roots.add(certificate).map_err(|error| fault(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fault("holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// Some systems hold certificates that cannot be read: the others count.
fn of_system() -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(Fault::CaFile(
            "this system has no certificates to verify https with".to_owned(),
        ));
    }
    Ok(roots)
}

fn tls(error: rustls::Error) -> Fault {
    Fault::CaFile(error.to_string())
}
