//! The accept loop. It goes on whatever happens: who cannot be served is told so, or let go, but never left waiting.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{
    Handler, Turned,
    connection::{self, Serving},
};
use crate::tls::Tls;

/// When accepting fails, trying again at once would only burn the processor.
const PAUSE: Duration = Duration::from_millis(50);
/// That accepting fails is said this often.
const SAY: Duration = Duration::from_secs(10);
/// Those who are told at once that there is no room, and may take a moment to hear it. Beyond them nobody waits for that:
/// their descriptors are few.
const TOLD: usize = 16;
const HEAR: Duration = Duration::from_secs(1);
/// When to come back where not even a descriptor was left.
const LATER: Duration = Duration::from_secs(5);

/// How serving ends, in two steps.
#[derive(Clone)]
pub struct End {
    /// Each connection finishes the request that it is at, or gets to begin one, and closes.
    pub closing: CancellationToken,
    /// Nobody is accepted any more, and who has not begun a request does not get to.
    pub closed: CancellationToken,
}

impl End {
    /// Both at once.
    pub fn at_once(end: CancellationToken) -> Self {
        Self {
            closing: end.clone(),
            closed: end,
        }
    }
}

/// Accepts until `end.closed`. With `tls` nothing else is spoken.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    handler: Arc<H>,
    end: End,
    tasks: TaskTracker,
) {
    let door = Door {
        plain: tls.is_none(),
        told: Arc::new(Semaphore::new(TOLD)),
        tasks,
    };
    let mut spare = Spare::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.closed.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_exhausted(&error) => {
                if spare.turn_away(&listener, &door).await {
                    handler.exhausted();
                }
                continue;
            }
            Err(error) => {
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // A frame that waits for more to fill a packet would only be late.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a connection that is gone already");
            continue;
        }
        match handler.admit(peer) {
            Ok(admission) => {
                handler.prepare(&stream);
                let serving = Serving {
                    handler: handler.clone(),
                    peer,
                    end: end.clone(),
                    tasks: door.tasks.clone(),
                    _admission: admission,
                };
                door.tasks.spawn(connection::run(stream, tls.clone(), serving));
            }
            Err(Turned::Away) => debug!(%peer, "too many HTTP connections"),
            Err(Turned::Back(later)) => door.tell(stream, peer, later),
        }
    }
}

/// Where people are turned away.
struct Door {
    /// In TLS nothing can be said to one that there is no room for.
    plain: bool,
    told: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Door {
    fn tell(&self, mut stream: TcpStream, peer: SocketAddr, later: Duration) {
        debug!(%peer, "no room for a connection");
        if !self.plain {
            return;
        }
        let answer = answer(later);
        let Ok(place) = self.told.clone().try_acquire_owned() else {
            return say(stream, &answer);
        };
        self.tasks.spawn(async move {
            let hear = async {
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await?;
                // Closed over what it still sends, it might not get to read the answer.
                let mut scratch = vec![0; 1024];
                while stream.read(&mut scratch).await? > 0 {}
                io::Result::Ok(())
            };
            // Whatever came of it, nobody is served here.
            let _heard = timeout(HEAR, hear).await;
            drop(place);
        });
    }
}

fn answer(later: Duration) -> String {
    let body = "this node is full\n";
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         retry-after: {}\r\nconnection: close\r\n\r\n{body}",
        body.len(),
        later.as_secs().max(1)
    )
}

/// Without waiting for anything. A new socket has room for it.
fn say(stream: TcpStream, answer: &str) {
    let said = stream
        .into_std()
        .and_then(|mut stream| io::Write::write(&mut stream, answer.as_bytes()));
    if let Err(error) = said {
        debug!(%error, "a connection that is gone already");
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    errno == Some(Errno::MFILE.raw_os_error()) || errno == Some(Errno::NFILE.raw_os_error())
}

/// A file descriptor that is given up when there is no other, so that whoever waits can be accepted and let go.
struct Spare {
    file: Option<File>,
    said: Option<Instant>,
}

impl Spare {
    fn new() -> Self {
        Self {
            file: Self::file(),
            said: None,
        }
    }

    fn file() -> Option<File> {
        File::open("/dev/null").ok()
    }

    /// False where nobody could be.
    async fn turn_away(&mut self, listener: &TcpListener, door: &Door) -> bool {
        if self.said.is_none_or(|said| said.elapsed() >= SAY) {
            warn!("no file descriptors are left: connections are refused");
            self.said = Some(Instant::now());
        }
        let had_one = self.file.take().is_some();
        let accepted = timeout(PAUSE, listener.accept()).await;
        let turned = match accepted {
            Ok(Ok((stream, _))) => {
                if door.plain {
                    say(stream, &answer(LATER));
                }
                true
            }
            // It has gone by itself, or somebody else took the descriptor.
            Ok(Err(_)) | Err(_) => false,
        };
        self.file = Self::file();
        if !turned || !had_one {
            tokio::time::sleep(PAUSE).await;
        }
        turned
    }
}
