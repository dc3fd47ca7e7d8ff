//! A network namespace for one node, with two links: one over which it is reached, and one over which it reaches NATS, which can
//! be cut without either end being told.

use std::{
    net::Ipv4Addr,
    process::{Command, id},
};

pub struct Namespace {
    pub name: String,
    bridge: String,
    /// This end of the links.
    front: String,
    back: String,
    net: u8,
}

impl Namespace {
    /// An error says what this machine does not allow.
    pub fn new() -> Result<Self, String> {
        let pid = id();
        let space = Self {
            name: format!("herald{pid}"),
            bridge: format!("hb{pid}"),
            front: format!("hf{pid}"),
            back: format!("hk{pid}"),
            net: pid.to_le_bytes()[0],
        };
        space.make()?;
        Ok(space)
    }

    fn make(&self) -> Result<(), String> {
        let Self {
            name,
            bridge,
            front,
            back,
            net,
        } = self;
        ip(&format!("netns add {name}"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("link add {front} type veth peer name front netns {name}"))?;
        ip(&format!("addr add 198.18.{net}.1/30 dev {front}"))?;
        ip(&format!("link set {front} up"))?;
        ip(&format!("-n {name} addr add 198.18.{net}.2/30 dev front"))?;
        ip(&format!("-n {name} link set front up"))?;
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add 198.19.{net}.1/30 dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))?;
        ip(&format!("link add {back} type veth peer name back netns {name}"))?;
        ip(&format!("link set {back} master {bridge} up"))?;
        ip(&format!("-n {name} addr add 198.19.{net}.2/30 dev back"))?;
        ip(&format!("-n {name} link set back up"))
    }

    /// Where what listens inside is reached.
    pub fn inside(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.net, 2)
    }

    /// An address outside that is reached from the inside over the link that can be cut.
    pub fn outside(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 19, self.net, 1)
    }

    /// From now on packets of this link vanish, both ways.
    pub fn cut(&self) {
        ip(&format!("link set {} nomaster", self.back)).expect("the link is ours");
    }

    pub fn heal(&self) {
        ip(&format!("link set {} master {}", self.back, self.bridge)).expect("the link is ours");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What was not made cannot be removed; the links go with the namespace.
        let _ = ip(&format!("netns del {}", self.name));
        let _ = ip(&format!("link del {}", self.bridge));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|e| format!("ip: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {arguments}: {}", why.trim()))
}
