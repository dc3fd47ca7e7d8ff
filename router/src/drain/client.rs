//! `drain`, the command: asks a running node to drain, and tells how far it is until it has ended.

use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, StatusCode, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{PATH, Status};

/// How often it is asked how far the node is.
const EVERY: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(10);
/// An answer is a short line.
const MOST: usize = 64 << 10;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// URL of the node's admin listener
    #[arg(long)]
    admin: Option<Uri>,
    /// File with the API key (a line break at its end is ignored)
    #[arg(long, required_unless_present = "key")]
    key_file: Option<PathBuf>,
    /// The API key itself; others on this machine may see it
    #[arg(long, conflicts_with = "key_file")]
    key: Option<String>,
    /// Certificates in PEM that an https listener is verified with. Unset: the system's
    #[arg(long)]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("--admin: {0}")]
    Url(&'static str),
    #[error("no certificates to verify the listener with: {0}")]
    Roots(String),
    #[error("{0}: the node cannot be reached")]
    Unreachable(#[from] std::io::Error),
    #[error("{0}: the node does not answer")]
    Broken(#[from] hyper::Error),
    #[error("the node does not answer in time")]
    TooLate,
    #[error("the node refuses: {0} {1}")]
    Refused(StatusCode, String),
    #[error("the node's answer cannot be read: {0}")]
    Answer(String),
}

/// Returns when the node has ended. `admin` is where it listens unless the arguments say otherwise.
pub async fn ask(args: Args, admin: &'static str, out: &mut impl Write) -> Result<(), DrainError> {
    let node = Node::new(args, admin)?;
    let begun = node.status(Method::POST).await?;
    let mut told = None;
    let mut now = begun.clone();
    loop {
        if told != Some(now.left) {
            told = Some(now.left);
            let window = humantime_serde::re::humantime::format_duration(now.window);
            writeln!(out, "draining over {window}: {} left", now.left)?;
        }
        sleep(EVERY).await;
        now = match node.status(Method::GET).await {
            Ok(status) if status.process == begun.process => status,
            // It has gone, and perhaps another one has come in its place.
            Ok(_) | Err(DrainError::Unreachable(_) | DrainError::Broken(_)) => break,
            Err(error) => return Err(error),
        };
    }
    writeln!(out, "drained")?;
    Ok(())
}

struct Node {
    host: String,
    port: u16,
    authorization: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Node {
    fn new(args: Args, admin: &'static str) -> Result<Self, DrainError> {
        let url = args.admin.unwrap_or_else(|| Uri::from_static(admin));
        let authority = url
            .authority()
            .ok_or(DrainError::Url("a URL is needed, http://host:port"))?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = match url.scheme_str() {
            Some("http") => None,
            Some("https") => {
                let name =
                    ServerName::try_from(host.clone()).map_err(|_| DrainError::Url("no such host is possible"))?;
                Some((connector(args.ca_file.as_deref())?, name))
            }
            _ => return Err(DrainError::Url("must begin with http:// or https://")),
        };
        let key = match (args.key, args.key_file) {
            (Some(key), _) => key,
            (None, path) => {
                let path = path.unwrap_or_default();
                let read = std::fs::read_to_string(&path);
                let text = read.map_err(|error| DrainError::Unreadable { path, error })?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 }),
            host,
            authorization: format!("Bearer {key}"),
            tls,
        })
    }

    async fn status(&self, method: Method) -> Result<Status, DrainError> {
        let exchange = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            match &self.tls {
                None => self.exchange(method, stream).await,
                Some((tls, name)) => self.exchange(method, tls.connect(name.clone(), stream).await?).await,
            }
        };
        timeout(DEADLINE, exchange).await.map_err(|_| DrainError::TooLate)?
    }

    async fn exchange<S>(&self, method: Method, stream: S) -> Result<Status, DrainError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .method(method)
            .uri(PATH)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::AUTHORIZATION, &self.authorization)
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|_| DrainError::Url("host or key cannot stand in a request"))?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = http_body_util::Limited::new(response.into_body(), MOST).collect().await;
            let body = body.map_err(|error| DrainError::Answer(error.to_string()))?.to_bytes();
            Ok::<_, DrainError>((status, body))
        };
        // Polled together: neither goes on without the other.
        let (status, body) = tokio::select! {
            answer = answer => answer,
            Err(error) = connection => Err(error.into()),
        }?;
        if status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body).trim().to_owned();
            return Err(DrainError::Refused(status, text));
        }
        serde_json::from_slice(&body).map_err(|error| DrainError::Answer(error.to_string()))
    }
}

fn connector(ca_file: Option<&std::path::Path>) -> Result<TlsConnector, DrainError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = RootCertStore::empty();
    let certificates = match ca_file {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| DrainError::Roots(format!("{}: {error}", path.display())))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(DrainError::Roots("none was found".to_owned()));
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
