//! A bus to test, and what stands behind it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use herald_proto::{Target, subject::Names};
use herald_router::bus::{
    Bucket, Bus, BusState, LiveCopy, LiveSink, LogLimits,
    memory::{self, MemoryKv},
    nats::{self, NatsConfig},
};
use herald_tests::nats::NatsServer;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use herald_tests::PATIENCE;

pub(crate) struct World {
    pub(crate) bus: Bus,
    behind: Behind,
}

enum Behind {
    Memory(Arc<MemoryKv>),
    /// Dropped in this order.
    Nats {
        _node: Node,
        server: NatsServer,
    },
}

/// One process' end of the bus over NATS; its tasks end with it.
pub(crate) struct Node {
    pub(crate) bus: Bus,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) fn limits() -> LogLimits {
    LogLimits {
        max_age: Duration::from_secs(3_600),
        max_messages_per_target: 2_000,
        max_bytes: 64 << 20,
        replicas: None,
    }
}

pub(crate) fn names() -> Names {
    Names::new("test")
}

pub(crate) fn config(url: String, limits: LogLimits) -> NatsConfig {
    NatsConfig {
        access: Default::default(),
        urls: vec![url],
        prefix: "test".to_owned(),
        name: "bus-test".to_owned(),
        limits,
        provision: true,
    }
}

impl Node {
    pub(crate) async fn start(config: NatsConfig) -> Self {
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let bus = nats::bus(config, shutdown.clone(), &tasks);
        Self {
            bus: bus.await.expect("it does not wait for NATS"),
            shutdown,
            tasks,
        }
    }

    pub(crate) async fn reaches(&self, state: BusState) {
        let mut states = self.bus.pubsub.state();
        let reached = timeout(PATIENCE, states.wait_for(|now| *now == state)).await;
        reached.expect("the state comes in time").expect("the bus lives");
    }
}

impl World {
    pub(crate) fn memory() -> Self {
        let kv = Arc::new(MemoryKv::new());
        let bus = Bus {
            kv: kv.clone(),
            ..memory::bus(limits())
        };
        Self {
            bus,
            behind: Behind::Memory(kv),
        }
    }

    pub(crate) async fn nats() -> Self {
        Self::nats_with(limits()).await
    }

    async fn nats_with(limits: LogLimits) -> Self {
        let server = NatsServer::start().await;
        let node = Node::start(config(server.url(), limits)).await;
        node.reaches(BusState::Ready).await;
        Self {
            bus: node.bus.clone(),
            behind: Behind::Nats { _node: node, server },
        }
    }

    /// The same kind of bus with other limits.
    pub(crate) async fn again_with(self, limits: LogLimits) -> Self {
        match self.behind {
            Behind::Memory(kv) => Self {
                bus: memory::bus(limits),
                behind: Behind::Memory(kv),
            },
            Behind::Nats { .. } => Self::nats_with(limits).await,
        }
    }

    /// Empties a bucket behind the bus' back.
    pub(crate) async fn purge(&self, bucket: Bucket) {
        match &self.behind {
            Behind::Memory(kv) => kv.purge_bucket(bucket),
            Behind::Nats { server, .. } => {
                let client = async_nats::connect(server.url()).await.expect("NATS is there");
                let stream = format!("KV_{}", names().bucket(bucket.name()));
                let jetstream = async_nats::jetstream::new(client);
                let stream = jetstream.get_stream(stream).await.expect("the bucket is there");
                stream.purge().await.expect("it is purged");
            }
        }
    }
}

/// Keeps what it hears, in order.
pub(crate) struct Recorder(mpsc::UnboundedSender<(Target, LiveCopy)>);

impl LiveSink for Recorder {
    fn live(&self, target: &Target, copy: LiveCopy) {
        // A test that is over listens no more.
        let _ = self.0.send((target.clone(), copy));
    }
}

pub(crate) type Heard = mpsc::UnboundedReceiver<(Target, LiveCopy)>;

pub(crate) fn recorder() -> (Arc<Recorder>, Heard) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(Recorder(sender)), receiver)
}

pub(crate) async fn hear(heard: &mut Heard) -> LiveCopy {
    let next = timeout(PATIENCE, heard.recv()).await;
    next.expect("a live copy comes in time").expect("the sink lives").1
}

pub(crate) fn text(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

/// Polls until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// Beats every 100 ms while the test runs, as routers do every second.
pub(crate) fn beating(bus: &Bus) -> tokio_util::task::AbortOnDropHandle<()> {
    let log = bus.log.clone();
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            log.beat().await.expect("it beats");
            sleep(Duration::from_millis(100)).await;
        }
    }))
}
