//! TLS towards NATS. The files are read at each connect, so that what was exchanged is used without a restart.

use std::{path::Path, sync::Arc};

use async_nats::ServerAddr;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::connect::Refused;
use crate::bus::nats::Tls;

pub(super) async fn begin(
    stream: TcpStream,
    server: &ServerAddr,
    tls: Option<&Tls>,
) -> Result<TlsStream<TcpStream>, Refused> {
    let name = ServerName::try_from(server.host().to_owned()).map_err(|error| Refused::Tls(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(config(tls).map_err(Refused::Tls)?));
    let connected = connector.connect(name, stream).await;
    connected.map_err(|error| Refused::Tls(error.to_string()))
}

fn config(tls: Option<&Tls>) -> Result<ClientConfig, String> {
    let roots = match tls.and_then(|tls| tls.ca_file.as_deref()) {
        Some(path) => of_file(path)?,
        None => of_system(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((cert, key)) = tls.and_then(|tls| tls.client.as_ref()) else {
        return Ok(builder.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, &error))?;
    let client = builder.with_client_auth_cert(certificates(cert)?, key);
    client.map_err(|error| fault(cert, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|error| fault(path, &error))
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| fault(path, &error))?;
    }
    Ok(roots)
}

/// Some systems hold certificates that cannot be read: the others count.
fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn fault(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
