//! The network between the nodes: a switch in this process, with one TAP device in each node's namespace. Every Ethernet frame passes
//! through it, so that packets of any direction can be dropped, delayed or put out of order, on any kernel that has TAP devices.

use std::{io::ErrorKind, process::Command, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use rand::Rng;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tun_rs::{AsyncDevice, DeviceBuilder, Layer};

use super::place::{PORTS, Place};

/// The largest frame: MTU and header.
const FRAME: usize = 1_600;

/// What happens to the frames of one direction between two ports.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Link {
    pub cut: bool,
    /// Of 1: how many are lost.
    pub loss: f64,
    pub delay: Duration,
    /// Up to so much is added to the delay, at random: later frames overtake earlier ones.
    pub jitter: Duration,
}

impl Link {
    /// Both at once.
    pub fn and(self, other: Self) -> Self {
        Self {
            cut: self.cut || other.cut,
            loss: self.loss.max(other.loss),
            delay: self.delay.max(other.delay),
            jitter: self.jitter.max(other.jitter),
        }
    }
}

type Links = Arc<Mutex<[[Link; PORTS]; PORTS]>>;

pub struct Network {
    links: Links,
    _switching: JoinSet<()>,
}

impl Network {
    pub async fn new() -> anyhow::Result<Self> {
        let mut ports = Vec::new();
        for place in Place::all() {
            let port = port(place).await;
            ports.push(port.with_context(|| format!("the network of {}", place.name()))?);
        }
        let ports: Arc<[AsyncDevice]> = ports.into();
        let links = Links::default();
        let mut switching = JoinSet::new();
        for from in 0..PORTS {
            switching.spawn(switch(from, Arc::clone(&ports), Arc::clone(&links)));
        }
        Ok(Self {
            links,
            _switching: switching,
        })
    }

    /// Replaces all that is wrong with the network.
    pub fn set(&self, wrong: impl Fn(usize, usize) -> Link) {
        let mut links = self.links.lock();
        for (from, row) in links.iter_mut().enumerate() {
            for (to, link) in row.iter_mut().enumerate() {
                *link = wrong(from, to);
            }
        }
    }
}

/// Of the run before this one: its tasks end at their next turn, and hold their devices until then.
const FREE_WITHIN: Duration = Duration::from_secs(10);

async fn tap(name: &str) -> std::io::Result<AsyncDevice> {
    let end = Instant::now() + FREE_WITHIN;
    loop {
        let device = DeviceBuilder::new().name(name).layer(Layer::L2).enable(false);
        match device.build_async() {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < end => {
                sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}

/// A device in the place's namespace, of which this process holds the other end.
async fn port(place: Place) -> anyhow::Result<AsyncDevice> {
    let device = format!("tap{}", place.port());
    let tap = tap(&device).await.context("a TAP device")?;
    let name = place.name();
    let inside = if place == Place::Clients {
        String::new()
    } else {
        ip(&format!("netns add {name}"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("link set {device} netns {name}"))?;
        format!("-n {name} ")
    };
    ip(&format!("{inside}link set {device} address {}", place.mac()))?;
    ip(&format!("{inside}addr add {}/24 dev {device}", place.address()))?;
    ip(&format!("{inside}link set {device} up"))?;
    for other in Place::all().filter(|other| *other != place) {
        // No questions who has which address: a lost answer would cut a node off for longer than was meant.
        ip(&format!(
            "{inside}neigh replace {} lladdr {} dev {device} nud permanent",
            other.address(),
            other.mac()
        ))?;
    }
    Ok(tap)
}

pub fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output()?;
    if !output.status.success() {
        bail!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

async fn switch(from: usize, ports: Arc<[AsyncDevice]>, links: Links) {
    let mut late = JoinSet::new();
    let mut buffer = vec![0; FRAME];
    loop {
        // An error: the device has gone, and with it the run.
        let Ok(length) = ports[from].recv(&mut buffer).await else {
            return;
        };
        let frame = &buffer[..length];
        while late.try_join_next().is_some() {}
        let Some(to) = destination(frame) else { continue };
        let link = links.lock()[from][to];
        if link.cut || link.loss > 0.0 && rand::rng().random_bool(link.loss) {
            continue;
        }
        if link.delay + link.jitter == Duration::ZERO {
            // What a full device does not take is lost, as on any network.
            let _ = ports[to].send(frame).await;
            continue;
        }
        let wait = link.delay + link.jitter.mul_f64(rand::rng().random());
        let (frame, ports) = (frame.to_vec(), Arc::clone(&ports));
        late.spawn(async move {
            sleep(wait).await;
            let _ = ports[to].send(&frame).await;
        });
    }
}

/// The port whose address stands in front of the frame; None: it is for nobody here, as broadcasts are.
fn destination(frame: &[u8]) -> Option<usize> {
    match frame {
        [2, 0, 0, 0, 0, port, ..] if usize::from(*port) < PORTS => Some(usize::from(*port)),
        _ => None,
    }
}
