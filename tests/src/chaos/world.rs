//! The cluster: its nodes, where they keep what, and what the nemesis can do to them.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::{
    net::{Link, Network},
    place::{GATEWAYS, NATS, Place},
    process::Process,
};
use crate::{
    gateway::{API_KEY, SECRET},
    http,
    process::binary,
};

/// Of each NATS store; small, so that it can be filled.
const DISK: &str = "256m";
const START_WITHIN: Duration = Duration::from_secs(40);

pub struct World {
    network: Network,
    nodes: HashMap<Place, Process>,
    folder: TempDir,
}

impl World {
    /// All nodes run and call themselves ready.
    pub async fn start(seed: u64) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix(format!("herald-chaos-{seed}-"))?;
        let network = Network::new().await?;
        let mut nodes = HashMap::new();
        for place in Place::nodes() {
            let command = command(place, folder.path())?;
            nodes.insert(place, Process::new(place.name(), command, folder.path()));
        }
        let mut world = Self { network, nodes, folder };
        for place in Place::nodes() {
            world.node(place).start()?;
        }
        world.ready(START_WITHIN).await?;
        Ok(world)
    }

    async fn ready(&mut self, within: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + within;
        for place in Place::nodes().filter(|place| !matches!(place, Place::Nats(_))) {
            while !is_ready(place).await {
                let node = self.node(place);
                ensure!(!node.has_ended(), "{} has ended: {}", place.name(), node.last_words());
                ensure!(Instant::now() < end, "{} never was ready", place.name());
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn node(&mut self, place: Place) -> &mut Process {
        self.nodes.get_mut(&place).expect("every node has its place")
    }

    pub fn kill(&mut self, place: Place) {
        self.node(place).kill();
    }

    pub fn restart(&mut self, place: Place) -> anyhow::Result<()> {
        let node = self.node(place);
        node.kill();
        node.start()
    }

    pub fn pause(&mut self, place: Place) {
        self.node(place).signal(Signal::STOP);
    }

    pub fn go_on(&mut self, place: Place) {
        self.node(place).signal(Signal::CONT);
    }

    pub fn network(&self, wrong: impl Fn(usize, usize) -> Link) {
        self.network.set(wrong);
    }

    /// Leaves a NATS server no room on its disk.
    pub fn fill_disk(&self, server: usize) -> anyhow::Result<()> {
        let filler = self.store(server).join("filler");
        // It ends with "no space left", which is what is wanted.
        Command::new("dd")
            .args(["if=/dev/zero", "bs=1M", &format!("of={}", filler.display())])
            .output()?;
        Ok(())
    }

    pub fn free_disk(&self, server: usize) -> anyhow::Result<()> {
        fs::remove_file(self.store(server).join("filler")).context("the filler")
    }

    fn store(&self, server: usize) -> PathBuf {
        self.folder.path().join(format!("store{server}"))
    }

    /// Ends all that is wrong, and starts again who has ended by itself, as any operator's supervisor would.
    pub async fn heal(&mut self) {
        self.network.set(|_, _| Link::default());
        for place in Place::nodes() {
            let node = self.node(place);
            node.signal(Signal::CONT);
            if node.has_ended() {
                // One that cannot be started shows by what the clients miss.
                let _ = node.start();
            }
        }
    }

    pub fn gateways() -> Vec<Place> {
        (0..GATEWAYS).map(Place::Gateway).collect()
    }

    pub fn keep_logs(&self, folder: &Path) -> anyhow::Result<()> {
        self.nodes.values().try_for_each(|node| node.keep_log(folder))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nodes.values_mut().for_each(Process::kill);
        for server in 0..NATS {
            // The mounts go with the namespace; the folder can only be removed without them.
            let _ = Command::new("umount").arg(self.store(server)).output();
        }
        for place in Place::nodes() {
            let _ = super::net::ip(&format!("netns del {}", place.name()));
        }
    }
}

/// Whether a node calls itself ready, as far as can be heard.
pub async fn is_ready(place: Place) -> bool {
    let asked = http::get(place.admin(), "/health/ready");
    let answer = timeout(Duration::from_secs(2), asked).await;
    answer.is_ok_and(|answer| answer.status == 200)
}

fn command(place: Place, folder: &Path) -> anyhow::Result<Vec<String>> {
    let config = folder.join(format!("{}.conf", place.name()));
    let (program, text) = match place {
        Place::Nats(i) => {
            let store = folder.join(format!("store{i}"));
            fs::create_dir(&store)?;
            let mounted = Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={DISK}"), "tmpfs"])
                .arg(&store)
                .status()?;
            ensure!(mounted.success(), "no disk for {}", place.name());
            let nats = env::var_os("NATS_SERVER").map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
            (nats, nats_config(place, &store))
        }
        Place::Router(_) => (binary("herald-router"), router_config(place)),
        Place::Gateway(_) => (binary("herald-gateway"), gateway_config(place)),
        Place::Clients => unreachable!("clients are no process"),
    };
    fs::write(&config, text)?;
    let arguments = [program, "--config".into(), config];
    Ok(arguments.iter().map(|part| part.display().to_string()).collect())
}

fn nats_config(place: Place, store: &Path) -> String {
    let routes: Vec<String> = (0..NATS)
        .map(|i| format!("nats://{}:6222", Place::Nats(i).address()))
        .collect();
    format!(
        "server_name: {name}\nlisten: \"{address}:4222\"\nping_interval: \"5s\"\nping_max: 2\n\
         jetstream {{ store_dir: \"{store}\", max_file_store: 200MB }}\n\
         cluster {{ name: herald, listen: \"{address}:6222\", routes: [{routes}] }}\n",
        name = place.name(),
        address = place.address(),
        store = store.display(),
        routes = routes.join(", ")
    )
}

fn nats_urls() -> String {
    let urls: Vec<String> = (0..NATS)
        .map(|i| format!("\"nats://{}:4222\"", Place::Nats(i).address()))
        .collect();
    format!("[nats]\nurls = [{}]\n", urls.join(", "))
}

fn router_config(place: Place) -> String {
    let node = place.name();
    let nats = nats_urls();
    format!(
        "node = \"{node}\"\ndrain = \"2s\"\n[admin]\nlisten = \"{}\"\n{nats}[policy]\nclient_join = [\"*\"]\n\
         [log]\nmax_bytes = \"64MiB\"\nreplicas = 3\n[events]\nmax_bytes = \"16MiB\"\n",
        place.admin()
    )
}

fn gateway_config(place: Place) -> String {
    let node = place.name();
    let nats = nats_urls();
    format!(
        "node = \"{node}\"\ndrain = \"2s\"\n[public]\nlisten = [\"{}\"]\n[admin]\nlisten = \"{}\"\n\
         [[admin.api_keys]]\nname = \"ops\"\nkey = \"{API_KEY}\"\n{nats}\
         [[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n\
         [limits]\nconnects_per_second = 10000\nconnects_burst = 10000\nconnections_per_address = 10000\n\
         ping_interval = \"6s\"\npong_timeout = \"4s\"\n",
        place.public(),
        place.admin()
    )
}
