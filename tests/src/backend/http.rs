//! The backend behind HTTP: HTTP/1.1 by hand, so that it can break off anywhere.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::HUGE;

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
    /// Bytes of answers that the other side's kernel took.
    sent: AtomicU64,
}

pub struct HttpBackend {
    address: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl HttpBackend {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let counts = Arc::<Counts>::default();
        let counted = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counts = Arc::clone(&counted);
                tokio::spawn(async move {
                    counts.connections.fetch_add(1, Ordering::Relaxed);
                    counts.open.fetch_add(1, Ordering::Relaxed);
                    // It may be broken off at any time.
                    let _ = connection(stream, &counts).await;
                    counts.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, counts, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    pub fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// Connections that were ever made.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Those that stand.
    pub fn open(&self) -> u64 {
        self.counts.open.load(Ordering::Relaxed)
    }

    pub fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }
}

impl Drop for HttpBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// The last segment of the path of a POST.
    fn method(&self) -> &str {
        let path = self
            .line
            .strip_prefix("POST /api")
            .and_then(|rest| rest.split(' ').next());
        path.map_or("", |path| path.trim_start_matches('/'))
    }
}

async fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).await?;
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        line,
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length").parse().unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).await?;
    Ok(Some(request))
}

/// Serves one request after another.
async fn connection(stream: TcpStream, counts: &Counts) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        counts.requests.fetch_add(1, Ordering::Relaxed);
        let content_type = request.header("content-type");
        let answer = match request.method() {
            "silent" => {
                // Until the other side gives up.
                let _ = stream.read_u8().await;
                return Ok(());
            }
            "dies" => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                    .await?;
                return Ok(());
            }
            "slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                response("200 OK", content_type, &request.body)
            }
            "headers" => response("200 OK", "application/json", as_json(&request).to_string().as_bytes()),
            "bytes" => response("200 OK", "", &[0, 0xff]),
            "refuse" => response("422 Unprocessable Content", "text/plain", b"no such dice\nand more"),
            "page" => response("404 Not Found", "text/html", b"<h1>Not Found</h1>"),
            "fail" => response("500 Internal Server Error", "text/plain", b"a stack trace"),
            "liar" => response("200 OK", "application/json", b"{"),
            "redirect" => {
                b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /api/echo\r\nContent-Length: 0\r\n\r\n".to_vec()
            }
            "huge" => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                return flood(&mut stream, counts, |piece| piece.to_vec()).await;
            }
            "chunked" => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await?;
                let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                return flood(&mut stream, counts, chunk).await;
            }
            "twice" => [
                response("200 OK", content_type, &request.body),
                response("200 OK", content_type, b"again"),
            ]
            .concat(),
            _ => response("200 OK", content_type, &request.body),
        };
        stream.write_all(&answer).await?;
    }
    Ok(())
}

/// Sends 10 MB in pieces, for as long as they are taken.
async fn flood(
    stream: &mut BufReader<TcpStream>,
    counts: &Counts,
    framed: impl Fn(&[u8]) -> Vec<u8>,
) -> std::io::Result<()> {
    let (piece, mut left) = ([0; 16 << 10], HUGE);
    while left > 0 {
        let size = left.min(piece.len());
        stream.write_all(&framed(&piece[..size])).await?;
        counts.sent.fetch_add(size as u64, Ordering::Relaxed);
        left -= size;
    }
    Ok(())
}

fn response(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    if !content_type.is_empty() {
        head += &format!("Content-Type: {content_type}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

fn as_json(request: &Request) -> Value {
    let pair = |(name, value): &(String, String)| (name.clone(), Value::from(value.as_str()));
    Value::Object(request.headers.iter().map(pair).collect::<Map<_, _>>())
}
