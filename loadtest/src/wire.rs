//! What goes over the network: sockets from several addresses, upgrades, frames, requests, tokens.

pub mod address;
pub mod http;
pub mod socket;
pub mod token;
pub mod upgrade;
pub mod ws;

pub use address::Address;
pub use ws::Outgoing;

/// Why a connection could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no answer in time")]
    Late,
    #[error("the upgrade was answered with {status}: {text}")]
    Refused { status: u16, text: String },
    #[error("not HTTP: {0}")]
    NotHttp(String),
    #[error("WebSocket: {0}")]
    Frame(#[from] fastwebsockets::WebSocketError),
    #[error("closed with {code}: {reason}")]
    Closed { code: u16, reason: String },
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("a request that cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
}

impl WireError {
    /// A few words that are the same for all failures of a kind.
    pub fn kind(&self) -> String {
        match self {
            Self::Io(error) => error.kind().to_string(),
            Self::Refused { status, .. } => format!("status {status}"),
            Self::Closed { code, reason } => format!("closed with {code} {reason}"),
            other => other.to_string(),
        }
    }

    /// Servers of Herald say by the range whether to come back.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Closed { code: 4100..=4199, .. })
    }
}
