//! The way in: an upgrade request with a token in any of its places.

use std::net::SocketAddr;

use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        Error,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue},
        protocol::WebSocketConfig,
    },
};

use crate::{PATIENCE, client::Client};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Json,
    Proto,
}

impl Dialect {
    pub const BOTH: [Dialect; 2] = [Dialect::Json, Dialect::Proto];

    pub fn subprotocol(self) -> &'static str {
        match self {
            Dialect::Json => "herald.v1.json",
            Dialect::Proto => "herald.v1.proto",
        }
    }
}

/// An upgrade request in the making.
#[derive(Clone)]
pub struct Upgrade {
    address: SocketAddr,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    dialect: Dialect,
}

impl Upgrade {
    /// The JSON dialect without a word about subprotocols.
    pub fn to(address: SocketAddr) -> Self {
        Self {
            address,
            path: "/ws".into(),
            query: Vec::new(),
            headers: Vec::new(),
            dialect: Dialect::Json,
        }
    }

    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self.header("Sec-WebSocket-Protocol", dialect.subprotocol())
    }

    /// The value must need no escape.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The open connection and the subprotocol that the server chose; or the HTTP status of a refusal.
    pub async fn open(self) -> Result<(Client, Option<String>), u16> {
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("ws://{}{}{mark}{}", self.address, self.path, query.join("&"));
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).expect("a header's name");
            // `insert`: a test may replace what the library has set, such as Host.
            request
                .headers_mut()
                .insert(name, HeaderValue::try_from(value).expect("a header's value"));
        }
        let stream = TcpStream::connect(self.address)
            .await
            .expect("the listener takes connections");
        stream.set_nodelay(true).expect("a TCP socket");
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0);
        let opening = client_async_with_config(request, stream, Some(config));
        match timeout(PATIENCE, opening).await.expect("an answer to the upgrade") {
            Ok((socket, response)) => {
                let chosen = response.headers().get("Sec-WebSocket-Protocol");
                let chosen = chosen.map(|v| v.to_str().expect("ASCII").to_owned());
                Ok((Client::new(socket, self.dialect), chosen))
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(e) => panic!("the upgrade failed: {e}"),
        }
    }

    /// Opens, and waits for `connected`.
    pub async fn connect(self) -> Client {
        let (mut client, _) = self.open().await.expect("an upgrade");
        client.connected = client.next("connected").await;
        client
    }
}
