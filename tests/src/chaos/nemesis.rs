//! What goes wrong, and when: a plan that follows from the seed alone, and the hand that carries it out.

use std::{fmt, time::Duration};

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::{Instant, sleep_until};

use super::{
    net::Link,
    place::{GATEWAYS, NATS, Place, ROUTERS},
    world::World,
};

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// kill -9, and started again in the end.
    Kill(Place),
    /// Stands still (SIGSTOP).
    Pause(Place),
    /// Nothing comes to it or from it.
    Isolate(Place),
    /// What the one sends does not come to the other; the way back is whole.
    OneWay(Place, Place),
    /// One NATS server against the two others; everybody else reaches all three.
    Split(usize),
    /// No gateway reaches any NATS server.
    NatsFromGateways,
    /// No NATS server reaches a router, nor it them.
    RouterFromNats(usize),
    /// A part of its packets is lost, both ways.
    Lossy(Place, f64),
    /// Its packets take longer, all alike.
    Slow(Place, Duration),
    /// Its packets take longer, each as it likes: they overtake each other.
    Disorder(Place, Duration),
    /// No room is left on a NATS server's disk.
    FullDisk(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub kind: Kind,
    pub from: Duration,
    pub to: Duration,
}

/// Nothing goes wrong before everybody has said something.
const FIRST: Duration = Duration::from_secs(3);

pub fn plan(rng: &mut StdRng, length: Duration) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut at = FIRST;
    while at + Duration::from_secs(3) < length {
        let lasts = Duration::from_millis(rng.random_range(2_000..12_000));
        let to = (at + lasts).min(length);
        faults.push(Fault {
            kind: kind(rng),
            from: at,
            to,
        });
        // Most begin when the last has ended, some while it lasts.
        let pause = Duration::from_millis(rng.random_range(500..4_000));
        at = if rng.random_bool(0.3) { at + pause } else { to + pause };
    }
    faults
}

fn kind(rng: &mut StdRng) -> Kind {
    let nats = rng.random_range(0..NATS);
    let nodes: Vec<Place> = Place::nodes().collect();
    let mut node = || *nodes.choose(rng).expect("there are nodes");
    let (one, other) = (node(), node());
    match rng.random_range(0..13) {
        0..=2 => Kind::Kill(one),
        3 | 4 => Kind::Pause(one),
        5 => Kind::Isolate(one),
        6 if one != other => Kind::OneWay(one, other),
        6 | 7 => Kind::Split(nats),
        8 => Kind::NatsFromGateways,
        9 => Kind::RouterFromNats(rng.random_range(0..ROUTERS)),
        10 => Kind::Lossy(one, rng.random_range(0.01..0.2)),
        11 => Kind::Slow(one, Duration::from_millis(rng.random_range(20..200))),
        _ if rng.random_bool(0.5) => Kind::Disorder(one, Duration::from_millis(rng.random_range(5..50))),
        _ => Kind::FullDisk(nats),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(place) => write!(f, "kill {}", place.name()),
            Self::Pause(place) => write!(f, "pause {}", place.name()),
            Self::Isolate(place) => write!(f, "isolate {}", place.name()),
            Self::OneWay(from, to) => write!(f, "cut {} -> {}", from.name(), to.name()),
            Self::Split(server) => write!(f, "split nats{server} from the others"),
            Self::NatsFromGateways => write!(f, "cut gateways from NATS"),
            Self::RouterFromNats(router) => write!(f, "cut router{router} from NATS"),
            Self::Lossy(place, loss) => write!(f, "lose {:.0} % of {}", loss * 100.0, place.name()),
            Self::Slow(place, delay) => write!(f, "delay {} by {} ms", place.name(), delay.as_millis()),
            Self::Disorder(place, jitter) => write!(f, "disorder {} by {} ms", place.name(), jitter.as_millis()),
            Self::FullDisk(server) => write!(f, "fill the disk of nats{server}"),
        }
    }
}

impl Kind {
    /// What it does to the frames from one port to another.
    fn link(&self, from: usize, to: usize) -> Link {
        let touches = |place: &Place| from == place.port() || to == place.port();
        let is_nats = |port: usize| (0..NATS).any(|i| Place::Nats(i).port() == port);
        let is_gateway = |port: usize| (0..GATEWAYS).any(|i| Place::Gateway(i).port() == port);
        let between = |one: &dyn Fn(usize) -> bool, other: &dyn Fn(usize) -> bool| {
            one(from) && other(to) || one(to) && other(from)
        };
        let mut link = Link::default();
        match self {
            Self::Isolate(place) => link.cut = touches(place),
            Self::OneWay(one, other) => link.cut = from == one.port() && to == other.port(),
            Self::Split(server) => {
                let alone = Place::Nats(*server).port();
                link.cut = between(&|port| port == alone, &|port| is_nats(port) && port != alone);
            }
            Self::NatsFromGateways => link.cut = between(&is_nats, &is_gateway),
            Self::RouterFromNats(router) => {
                let router = Place::Router(*router).port();
                link.cut = between(&|port| port == router, &is_nats);
            }
            Self::Lossy(place, loss) if touches(place) => link.loss = *loss,
            Self::Slow(place, delay) if touches(place) => link.delay = *delay,
            Self::Disorder(place, jitter) if touches(place) => link.jitter = *jitter,
            _ => {}
        }
        link
    }
}

/// Carries the plan out; what was done, and when.
pub async fn work(faults: &[Fault], world: &mut World, begun: Instant) -> Vec<String> {
    let mut steps: Vec<(Duration, usize, bool)> = Vec::new();
    for (i, fault) in faults.iter().enumerate() {
        steps.push((fault.from, i, true));
        steps.push((fault.to, i, false));
    }
    steps.sort();
    let mut standing: Vec<&Kind> = Vec::new();
    let mut done = Vec::new();
    for (at, i, begins) in steps {
        sleep_until(begun + at).await;
        let kind = &faults[i].kind;
        if begins {
            standing.push(kind);
        } else {
            standing.retain(|other| !std::ptr::eq(*other, kind));
        }
        world.network(|from, to| {
            let links = standing.iter().map(|kind| kind.link(from, to));
            links.fold(Link::default(), Link::and)
        });
        let word = if begins { "" } else { "end of: " };
        done.push(format!("{:5.1} s  {word}{kind}", at.as_secs_f64()));
        if let Err(error) = strike(kind, begins, world) {
            done.push(format!("         which did not work: {error:#}"));
        }
    }
    done
}

/// What is done to the nodes themselves.
fn strike(kind: &Kind, begins: bool, world: &mut World) -> anyhow::Result<()> {
    match (kind, begins) {
        (Kind::Kill(place), true) => world.kill(*place),
        (Kind::Kill(place), false) => world.restart(*place)?,
        (Kind::Pause(place), true) => world.pause(*place),
        (Kind::Pause(place), false) => world.go_on(*place),
        (Kind::FullDisk(server), true) => world.fill_disk(*server)?,
        (Kind::FullDisk(server), false) => {
            world.free_disk(*server)?;
            // A server whose disk was full has switched its JetStream off until it is started again.
            world.restart(Place::Nats(*server))?;
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_plan_and_all_faults_end_in_time() {
        let length = Duration::from_secs(60);
        let plan_of = |seed| plan(&mut StdRng::seed_from_u64(seed), length);
        for seed in 0..200 {
            let faults = plan_of(seed);
            assert_eq!(faults, plan_of(seed));
            assert!(faults.len() >= 3, "{faults:?}");
            assert!(faults.iter().all(|fault| fault.from < fault.to && fault.to <= length));
        }
    }

    #[test]
    fn every_kind_of_fault_is_in_some_plan() {
        let plans = (0..200).flat_map(|seed| plan(&mut StdRng::seed_from_u64(seed), Duration::from_secs(60)));
        let kinds: std::collections::HashSet<_> = plans.map(|fault| std::mem::discriminant(&fault.kind)).collect();
        assert_eq!(kinds.len(), 11);
    }

    #[test]
    fn a_split_cuts_one_server_from_its_peers_alone() {
        let split = Kind::Split(1);
        let port = |i| Place::Nats(i).port();
        assert!(split.link(port(1), port(0)).cut && split.link(port(2), port(1)).cut);
        assert!(!split.link(port(0), port(2)).cut);
        assert!(!split.link(Place::Gateway(0).port(), port(1)).cut);
        let one_way = Kind::OneWay(Place::Nats(0), Place::Router(1));
        assert!(one_way.link(port(0), Place::Router(1).port()).cut);
        assert!(!one_way.link(Place::Router(1).port(), port(0)).cut);
    }
}
