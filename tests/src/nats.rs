//! A NATS server of one's own, with JetStream, on a free port and in a folder that goes with it.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::PATIENCE;

pub mod cluster;

/// `NATS_SERVER`, else the `nats-server` of the path.
fn binary() -> PathBuf {
    env::var_os("NATS_SERVER").map_or_else(|| PathBuf::from("nats-server"), PathBuf::from)
}

/// A loopback address that nobody else uses: while a server is stopped, no outgoing connection is given its place, not even one that
/// is looking for it.
fn own_address() -> Ipv4Addr {
    let mut rng = rand::rng();
    Ipv4Addr::new(127, rng.random_range(1..=254), rng.random(), rng.random_range(1..=254))
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Killed when dropped; its log is printed if the test is failing.
pub struct NatsServer {
    address: Ipv4Addr,
    port: u16,
    store: TempDir,
    child: Option<Child>,
    /// More configuration, in the server's own language.
    config: String,
    /// It does not greet.
    silent: bool,
}

impl NatsServer {
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    pub async fn start_with(config: &str) -> Self {
        let mut server = Self::reserve();
        server.config = config.to_owned();
        server.begin().await
    }

    /// Somebody may take the port between our look at it and the server's.
    async fn begin(mut self) -> Self {
        while !self.try_start().await {
            self.port = free_port();
        }
        self
    }

    /// On the address that certificates of tests name.
    pub async fn start_certified(config: &str) -> Self {
        let mut server = Self::reserve();
        server.address = Ipv4Addr::LOCALHOST;
        server.config = config.to_owned();
        server.begin().await
    }

    /// The same with a server that says nothing before its clients have, so that all that can be seen of it is that it listens.
    pub async fn start_silent(config: &str) -> Self {
        let mut server = Self::reserve();
        server.address = Ipv4Addr::LOCALHOST;
        server.config = config.to_owned();
        server.silent = true;
        server.begin().await
    }

    /// Not on loopback.
    pub async fn start_on(address: Ipv4Addr) -> Self {
        let mut server = Self::reserve();
        server.address = address;
        server.begin().await
    }

    /// A server that is not there yet: its port and folder are chosen.
    pub fn reserve() -> Self {
        Self {
            address: own_address(),
            port: free_port(),
            store: TempDir::new().expect("a folder for the store"),
            child: None,
            config: String::new(),
            silent: false,
        }
    }

    /// Starts a reserved or stopped server, on the same port and with all that it had stored.
    pub async fn start_again(&mut self) {
        assert!(self.try_start().await, "nats-server does not start:\n{}", self.log());
    }

    /// False where it ended before it served anybody.
    async fn try_start(&mut self) -> bool {
        assert!(self.child.is_none(), "it runs already");
        let log = self.store.path().join("log");
        let config = self.store.path().join("config");
        // Streams reserve what they may hold: by itself the server allows what part of the disk is free now.
        let storage = match self.config.contains("jetstream") {
            true => "",
            false => "jetstream { max_file_store: 16GB }\n",
        };
        let text = format!("{storage}{}", self.config);
        std::fs::write(&config, text).expect("room for the configuration");
        let child = Command::new(binary())
            .arg("--config")
            .arg(config)
            .args(["--addr", &self.address.to_string(), "--port", &self.port.to_string()])
            .arg("--jetstream")
            .arg("--store_dir")
            .arg(self.store.path())
            .arg("--log")
            .arg(log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{} does not start: {e}", binary().display()));
        let child = self.child.insert(child);
        let end = Instant::now() + PATIENCE;
        loop {
            let there = match self.silent {
                true => TcpStream::connect((self.address, self.port)).await.is_ok(),
                false => greets(self.address, self.port).await,
            };
            if there {
                return true;
            }
            if child.try_wait().expect("the child's state").is_some() {
                self.child = None;
                return false;
            }
            assert!(Instant::now() < end, "nats-server does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.place())
    }

    /// Where it listens.
    pub fn place(&self) -> SocketAddr {
        (self.address, self.port).into()
    }

    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("the signal is delivered");
    }

    /// kill -9; it is gone when this returns.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the child is killed");
            child.wait().expect("the child is reaped");
        }
    }

    /// Of a stopped server: all that it had stored is lost.
    pub fn lose_store(&self) {
        assert!(self.child.is_none(), "it still runs");
        std::fs::remove_dir_all(self.store.path().join("jetstream")).expect("the store can be removed");
    }

    /// Of a stopped server: a backup of all that it has stored.
    pub fn keep_store(&self) {
        assert!(self.child.is_none(), "it still runs");
        let (store, kept) = (self.store.path().join("jetstream"), self.store.path().join("kept"));
        copy(&store, &kept).expect("the store can be copied");
    }

    /// Of a stopped server: it has again what was kept, and nothing that came since.
    pub fn put_back_store(&self) {
        self.lose_store();
        let (store, kept) = (self.store.path().join("jetstream"), self.store.path().join("kept"));
        copy(&kept, &store).expect("the store can be put back");
    }

    /// Of a stopped server: this stream alone is lost.
    pub fn lose_stream(&self, name: &str) {
        assert!(self.child.is_none(), "it still runs");
        let streams = self.store.path().join("jetstream/$G/streams");
        std::fs::remove_dir_all(streams.join(name)).expect("the stream can be removed");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.store.path().join("log")).unwrap_or_default()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("--- log of nats-server ---\n{}", self.log());
        }
    }
}

/// A folder and all that is in it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Whether a server speaks first, as NATS does, and has JetStream.
async fn greets(address: Ipv4Addr, port: u16) -> bool {
    let greeting = async {
        let address = SocketAddr::from((address, port));
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut info = vec![0; 4096];
        let read = stream.read(&mut info).await.ok()?;
        Some(String::from_utf8_lossy(&info[..read]).into_owned())
    };
    let info = timeout(Duration::from_secs(2), greeting).await;
    info.ok()
        .flatten()
        .is_some_and(|info| info.starts_with("INFO ") && info.contains("\"jetstream\":true"))
}
