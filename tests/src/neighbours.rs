//! Clients that behave and clients that do not, side by side.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    PATIENCE,
    raw::{FIN, Frame, PING, PONG, Raw, TEXT, header},
};

/// Clients that each ask something now and then, and answer pings all the time.
pub struct Good {
    asking: Arc<AtomicBool>,
    /// How soon each question was answered; None: not at all.
    took: Arc<Mutex<Vec<Option<Duration>>>>,
    tasks: Vec<AbortOnDropHandle<()>>,
}

#[derive(Debug, Default)]
pub struct Served {
    pub answers: usize,
    pub unanswered: usize,
    pub p50: Duration,
    pub p99: Duration,
}

/// Between two questions of one client.
const EVERY: Duration = Duration::from_millis(500);

impl Good {
    pub async fn connect(address: SocketAddr, count: usize, token: impl Fn(&str) -> String) -> Self {
        let (asking, took) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
        let mut tasks = Vec::new();
        for n in 0..count {
            let mut raw = Raw::open(address, &format!("/ws?token={}", token(&format!("good-{n}"))), &[]).await;
            raw.json().await;
            let (asking, took) = (asking.clone(), took.clone());
            tasks.push(AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    listen(&mut raw, EVERY).await;
                    if asking.load(Ordering::Relaxed) {
                        let answered = ask(&mut raw).await;
                        took.lock().expect("never poisoned").push(answered);
                    }
                }
            })));
        }
        Self { asking, took, tasks }
    }

    /// How soon they are answered, for so long.
    pub async fn served_for(&self, time: Duration) -> Served {
        self.asking.store(true, Ordering::Relaxed);
        sleep(time).await;
        self.asking.store(false, Ordering::Relaxed);
        // The last answers.
        sleep(EVERY).await;
        assert!(
            self.tasks.iter().all(|task| !task.is_finished()),
            "one who behaves was cut"
        );
        let all = std::mem::take(&mut *self.took.lock().expect("never poisoned"));
        let mut times: Vec<Duration> = all.iter().flatten().copied().collect();
        times.sort();
        let quantile = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        Served {
            answers: times.len(),
            unanswered: all.len() - times.len(),
            p50: quantile(50),
            p99: quantile(99),
        }
    }
}

async fn listen(raw: &mut Raw, time: Duration) {
    let end = Instant::now() + time;
    while let Ok(frame) = timeout_at(end, raw.read()).await {
        heard(raw, frame.expect("one who behaves is not cut")).await;
    }
}

async fn ask(raw: &mut Raw) -> Option<Duration> {
    let asked = Instant::now();
    raw.text(r#"{"id":1,"ping":{}}"#).await;
    let answered = async {
        loop {
            let frame = raw.read().await.expect("one who behaves is not cut");
            if heard(raw, frame).await {
                return asked.elapsed();
            }
        }
    };
    timeout(PATIENCE / 2, answered).await.ok()
}

/// Whether it is an answer.
async fn heard(raw: &mut Raw, frame: Frame) -> bool {
    if frame.first == FIN | PING {
        raw.frame(FIN | PONG, &frame.payload).await;
    }
    frame.payload.windows(4).any(|word| word == b"pong")
}

/// Clients that hold a connection for nothing.
pub struct Bad {
    gone: Arc<AtomicUsize>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// What they do, in turn.
const KINDS: usize = 6;
/// From each of as many loopback addresses as needed.
const PER_ADDRESS: usize = 900;

impl Bad {
    pub async fn connect(address: SocketAddr, count: usize) -> Self {
        let gone = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        let mut connecting = JoinSet::new();
        for n in 0..count {
            connecting.spawn(async move { (n, connect(address, n).await) });
            if connecting.len() >= 100 {
                tasks.extend(
                    connecting
                        .join_next()
                        .await
                        .map(|done| behave(done.expect("no panic"), &gone)),
                );
            }
        }
        while let Some(done) = connecting.join_next().await {
            tasks.push(behave(done.expect("no panic"), &gone));
        }
        Self { gone, _tasks: tasks }
    }

    /// How many connections the server has ended.
    pub fn gone(&self) -> usize {
        self.gone.load(Ordering::Relaxed)
    }
}

async fn connect(address: SocketAddr, n: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let source = [127, 0, 1, u8::try_from(1 + n / PER_ADDRESS).expect("few addresses")];
    socket.bind((source, 0).into()).expect("a loopback address");
    socket.connect(address).await.expect("the listener takes connections")
}

fn behave((n, stream): (usize, TcpStream), gone: &Arc<AtomicUsize>) -> AbortOnDropHandle<()> {
    let gone = gone.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        bad(n % KINDS, stream).await;
        gone.fetch_add(1, Ordering::Relaxed);
    }))
}

/// Until the server ends it.
async fn bad(kind: usize, mut stream: TcpStream) {
    const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (first, trickle): (Vec<u8>, &[u8]) = match kind {
        // Half open, as far as the server can see; silent in the middle of a head; a byte a second of one; of a body.
        0 => (Vec::new(), b""),
        1 => (UPGRADE[..60].into(), b""),
        2 => (Vec::new(), UPGRADE.as_bytes()),
        3 => (
            "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n".into(),
            b"",
        ),
        // Garbage; and a WebSocket that begins a frame a byte a second.
        4 => ((0..200_u8).map(|n| n.wrapping_mul(167)).collect(), b""),
        _ => (
            [UPGRADE.as_bytes(), &header(FIN | TEXT, 0x80, 60_000)].concat(),
            &[b'x'; 1_000],
        ),
    };
    // Whatever fails does so because the server has ended it.
    let _ended = stream.write_all(&first).await;
    let mut scratch = [0; 1024];
    let mut trickle = trickle.iter();
    loop {
        match timeout(Duration::from_secs(1), stream.read(&mut scratch)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => {}
            Err(_) => {
                if let Some(byte) = trickle.next() {
                    let _ended = stream.write_all(&[*byte]).await;
                }
            }
        }
    }
}
