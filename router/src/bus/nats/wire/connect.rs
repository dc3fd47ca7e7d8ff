//! One attempt to connect to one server, up to where it has taken us in.

use std::{io, time::Duration};

use async_nats::ServerAddr;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    op::{self, BadOp, Op},
    tls,
};
use crate::bus::nats::Access;

const CONNECT: Duration = Duration::from_secs(3);
/// Live copies come in bursts.
const BUFFER: usize = 64 << 10;

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum Refused {
    #[error("timed out")]
    TimedOut,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("authentication: {0}")]
    Credentials(String),
    #[error("{0}")]
    Server(String),
    #[error("{0}")]
    Bad(#[from] BadOp),
    #[error("the server spoke out of turn")]
    OutOfTurn,
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is there, and what has come already.
pub(super) struct Connected {
    pub stream: Box<dyn Stream>,
    pub buffer: BytesMut,
    /// Other servers of the same cluster.
    pub others: Vec<ServerAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    tls_required: bool,
    nonce: String,
    connect_urls: Vec<String>,
}

impl Info {
    pub fn of(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub fn others(&self) -> Vec<ServerAddr> {
        self.connect_urls.iter().filter_map(|url| url.parse().ok()).collect()
    }
}

pub(super) async fn connect(server: &ServerAddr, access: &Access, name: &str) -> Result<Connected, Refused> {
    let attempt = timeout(CONNECT, attempt(server, access, name)).await;
    attempt.unwrap_or(Err(Refused::TimedOut))
}

async fn attempt(server: &ServerAddr, access: &Access, name: &str) -> Result<Connected, Refused> {
    let settings = access.tls.as_ref();
    let mut socket = TcpStream::connect((server.host(), server.port())).await?;
    socket.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(BUFFER);
    if settings.is_some_and(|tls| tls.handshake_first) {
        let mut stream = tls::begin(socket, server, settings).await?;
        let info = info(&mut stream, &mut buffer).await?;
        return taken_in(Box::new(stream), buffer, &info, access, name).await;
    }
    let info = info(&mut socket, &mut buffer).await?;
    if settings.is_some() || info.tls_required || server.tls_required() {
        // Whatever came in the clear behind the first line did not come from who the certificate names.
        buffer.clear();
        let stream = tls::begin(socket, server, settings).await?;
        return taken_in(Box::new(stream), buffer, &info, access, name).await;
    }
    taken_in(Box::new(socket), buffer, &info, access, name).await
}

async fn info(stream: &mut impl Stream, buffer: &mut BytesMut) -> Result<Info, Refused> {
    match read(stream, buffer).await? {
        Op::Info(json) => Info::of(&json).ok_or(Refused::OutOfTurn),
        Op::Error(words) => Err(Refused::Server(words)),
        _ => Err(Refused::OutOfTurn),
    }
}

/// Shows who we are, and waits for the server's yes.
async fn taken_in(
    mut stream: Box<dyn Stream>,
    mut buffer: BytesMut,
    info: &Info,
    access: &Access,
    name: &str,
) -> Result<Connected, Refused> {
    let hello = Hello::new(access, info, name)?;
    // A struct of texts and flags can be written as JSON.
    let hello = serde_json::to_string(&hello).map_err(|error| Refused::Server(error.to_string()))?;
    stream
        .write_all(format!("CONNECT {hello}\r\nPING\r\n").as_bytes())
        .await?;
    stream.flush().await?;
    loop {
        match read(&mut stream, &mut buffer).await? {
            Op::Pong => break,
            Op::Error(words) => return Err(Refused::Server(words)),
            // A newer one, or a yes to the hello.
            Op::Info(_) | Op::Ok => {}
            Op::Ping => stream.write_all(b"PONG\r\n").await?,
            Op::Message { .. } => return Err(Refused::OutOfTurn),
        }
    }
    Ok(Connected {
        stream,
        buffer,
        others: info.others(),
    })
}

async fn read(stream: &mut impl Stream, buffer: &mut BytesMut) -> Result<Op, Refused> {
    loop {
        if let Some(op) = op::next(buffer)? {
            return Ok(op);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(Refused::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

#[derive(Serialize)]
struct Hello<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'a str,
    lang: &'a str,
    version: &'a str,
    /// The server may tell of others that have come.
    protocol: u8,
    echo: bool,
    headers: bool,
    no_responders: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl<'a> Hello<'a> {
    fn new(access: &Access, info: &Info, name: &'a str) -> Result<Self, Refused> {
        let shown = access.credentials.show(info.nonce.as_bytes());
        let shown = shown.map_err(Refused::Credentials)?;
        Ok(Self {
            verbose: false,
            pedantic: false,
            tls_required: access.tls.is_some(),
            name,
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            echo: true,
            headers: true,
            no_responders: true,
            user: shown.username,
            pass: shown.password,
            auth_token: shown.token,
            jwt: shown.jwt,
            nkey: shown.nkey,
            sig: shown.signature.map(|signature| URL_SAFE_NO_PAD.encode(signature)),
        })
    }
}
