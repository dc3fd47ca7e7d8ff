//! TLS of a listener: its certificate, which is exchanged while all goes on, and the handshake.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::RwLock;
use rustls::ServerConfig;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, error, info};

use crate::config::tls::TlsSettings;

mod files;
mod loaded;

pub use loaded::{Loaded, TlsFault};

use files::Files;

/// A handshake is three messages, of which the client sends two.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often it is looked whether the files are others.
const LOOK: Duration = Duration::from_secs(5);

/// As it stands in a handshake.
pub const HTTP2: &[u8] = b"h2";
pub const HTTP1: &[u8] = b"http/1.1";

/// What is wrong with these settings and their files.
pub fn check(settings: &TlsSettings) -> Result<(), TlsFault> {
    Loaded::read(settings).map(drop)
}

/// What is counted of a listener's TLS.
pub struct TlsMetrics {
    done: Counter,
    /// The client spoke no TLS, or none that fits; or it did not like the certificate.
    failed: Counter,
    /// It hung up.
    broken_off: Counter,
    /// It did not come to an end in time.
    late: Counter,
    /// When the certificate ends, in Unix seconds.
    expires: Gauge,
}

impl TlsMetrics {
    /// By the names that a binary has for them. The recorder must be installed before.
    pub fn new(handshakes: &'static str, expires: &'static str, listener: &'static str) -> Self {
        let outcome = |outcome: &'static str| counter!(handshakes, "listener" => listener, "outcome" => outcome);
        Self {
            done: outcome("done"),
            failed: outcome("failed"),
            broken_off: outcome("broken_off"),
            late: outcome("late"),
            expires: gauge!(expires, "listener" => listener),
        }
    }
}

pub struct Tls {
    listener: &'static str,
    current: RwLock<Current>,
    metrics: TlsMetrics,
}

struct Current {
    settings: TlsSettings,
    config: Arc<ServerConfig>,
    /// What was last tried, be it good or not. None: it could not be read.
    tried: Option<Files>,
}

impl Tls {
    /// `settings` have been checked: what cannot be loaded now has changed since. `listener` is for the log.
    pub fn new(settings: &TlsSettings, listener: &'static str, metrics: TlsMetrics) -> Result<Arc<Self>, TlsFault> {
        let loaded = Loaded::read(settings)?;
        metrics.expires.set(seconds(loaded.expires));
        Ok(Arc::new(Self {
            listener,
            current: RwLock::new(Current {
                settings: settings.clone(),
                config: loaded.config,
                tried: Some(loaded.files),
            }),
            metrics,
        }))
    }

    /// New connections get this from now on; open ones stay as they are.
    pub fn exchange(&self, settings: &TlsSettings, loaded: Loaded) {
        self.metrics.expires.set(seconds(loaded.expires));
        *self.current.write() = Current {
            settings: settings.clone(),
            config: loaded.config,
            tried: Some(loaded.files),
        };
    }

    /// Follows the files until dropped. Bad ones change nothing.
    pub async fn follow(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let settings = self.current.read().settings.clone();
            let from = settings.clone();
            let Ok(files) = tokio::task::spawn_blocking(move || Files::read(&from)).await else {
                continue; // only at the runtime's end
            };
            let found = files.as_ref().ok().cloned();
            if self.current.read().tried == found {
                continue;
            }
            match files.and_then(|files| Loaded::new(&settings, files)) {
                Ok(loaded) => {
                    let (listener, expires) = (self.listener, loaded.expires);
                    self.exchange(&settings, loaded);
                    info!(listener, expires, "a new certificate is in use");
                }
                Err(fault) => {
                    // It may be that only one of the two files has been written yet.
                    error!(listener = self.listener, %fault, "a new certificate cannot be used: the one before stays");
                    self.current.write().tried = found;
                }
            }
        }
    }

    /// The handshake. None: it failed, and the connection is gone.
    pub async fn accept(&self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let config = self.current.read().config.clone();
        match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => {
                self.metrics.done.increment(1);
                Some(stream)
            }
            Ok(Err(error)) => {
                debug!(%peer, %error, "a TLS handshake failed");
                // What rustls itself finds wrong comes as invalid data.
                match error.kind() {
                    io::ErrorKind::InvalidData => self.metrics.failed.increment(1),
                    _ => self.metrics.broken_off.increment(1),
                }
                None
            }
            Err(_) => {
                debug!(%peer, "a TLS handshake did not come to its end");
                self.metrics.late.increment(1);
                None
            }
        }
    }
}

#[allow(clippy::cast_precision_loss)] // exact up to 2^53
fn seconds(unix: u64) -> f64 {
    unix as f64
}
