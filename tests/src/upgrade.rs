//! The way in: an upgrade request with a token in any of its places.

use std::{io, net::SocketAddr};

use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, client_async_with_config,
    tungstenite::{
        Error,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue},
        protocol::WebSocketConfig,
    },
};

use crate::{PATIENCE, client::Client, tls::Trusting};

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
    narrow: bool,
    tls: Option<Trusting>,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Refusal {
    /// The HTTP status of the answer to the upgrade.
    Status(u16),
    /// Nobody listens, or the connection broke off.
    Lost(String),
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
            narrow: false,
            tls: None,
        }
    }

    /// The kernel takes in little, so that one who does not read is soon felt by the server.
    pub fn narrow(mut self) -> Self {
        self.narrow = true;
        self
    }

    pub fn tls(mut self, trusting: &Trusting) -> Self {
        self.tls = Some(trusting.clone());
        self
    }

    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self.header("Sec-WebSocket-Protocol", dialect.subprotocol())
    }

    /// Another path than the native clients'.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// The value must need no escape.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// A parameter of any text, percent-encoded.
    pub fn text(self, name: &str, value: &str) -> Self {
        let encoded: String = value.bytes().map(escaped).collect();
        self.query(name, &encoded)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The open connection and the subprotocol that the server chose; or the HTTP status of a refusal.
    pub async fn open(self) -> Result<(Client, Option<String>), u16> {
        self.try_open().await.map_err(|refusal| match refusal {
            Refusal::Status(status) => status,
            Refusal::Lost(why) => panic!("the upgrade failed: {why}"),
        })
    }

    /// The same towards a server that may be gone.
    pub async fn try_open(self) -> Result<(Client, Option<String>), Refusal> {
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{scheme}://{}{}{mark}{}", self.address, self.path, query.join("&"));
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).expect("a header's name");
            // `insert`: a test may replace what the library has set, such as Host.
            request
                .headers_mut()
                .insert(name, HeaderValue::try_from(value).expect("a header's value"));
        }
        let stream = self.dial().await.map_err(|e| Refusal::Lost(e.to_string()))?;
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
            Err(Error::Http(response)) => Err(Refusal::Status(response.status().as_u16())),
            Err(e) => Err(Refusal::Lost(e.to_string())),
        }
    }

    async fn dial(&self) -> io::Result<MaybeTlsStream<TcpStream>> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if self.narrow {
            socket.set_recv_buffer_size(4096)?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => MaybeTlsStream::Plain(stream),
            Some(trusting) => MaybeTlsStream::Rustls(trusting.over(stream).await?),
        })
    }

    /// Opens, and waits for `connected`.
    pub async fn connect(self) -> Client {
        let (mut client, _) = self.open().await.expect("an upgrade");
        client.connected = client.next("connected").await;
        client
    }
}

pub(crate) fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
