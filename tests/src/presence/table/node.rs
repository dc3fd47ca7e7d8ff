//! A gateway that does not exist: its lease and its users' keys, as a gateway writes them.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{self, kv::Store};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use herald_proto::{
    cluster::{ConnectionInfo, Lease, UserOnNode},
    id, limits, subject,
};
use prost::Message;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::{CancellationToken, DropGuard};

const NODE: &str = "gw-made-up";
const INCARNATION: &str = "0123456789abcdef";
/// Keys written at once.
const ABREAST: usize = 256;
/// Turns of changes in a second.
const TURNS: u32 = 100;

pub fn name(user: usize) -> String {
    format!("user-{user}")
}

pub struct MadeUp {
    store: Arc<Store>,
    _lease: DropGuard,
}

/// Users who come and go.
pub struct Changing {
    stop: CancellationToken,
    task: JoinHandle<(f64, Vec<bool>)>,
}

impl MadeUp {
    /// Puts the keys of so many users, and then the lease by which they count; it is refreshed until this is dropped.
    pub async fn with(client: &async_nats::Client, users: usize) -> Self {
        let context = jetstream::new(client.clone());
        let store = context.get_key_value("herald-dev_PRESENCE").await;
        let store = Arc::new(store.expect("the bucket was made"));
        let puts = stream::iter(0..users).map(|user| set(&store, user, true));
        puts.buffer_unordered(ABREAST).collect::<()>().await;
        put_lease(&store).await;
        let stop = CancellationToken::new();
        tokio::spawn(refresh(store.clone(), stop.clone()));
        Self {
            store,
            _lease: stop.drop_guard(),
        }
    }

    /// The first `users` users go and come in turn, `rate` of them in a second.
    pub fn change(&self, rate: u32, users: usize) -> Changing {
        let stop = CancellationToken::new();
        let task = tokio::spawn(change(self.store.clone(), rate, users, stop.clone()));
        Changing { stop, task }
    }
}

impl Changing {
    /// How many there were in a second, and who of them is online now.
    pub async fn end(self) -> (f64, Vec<bool>) {
        self.stop.cancel();
        self.task.await.expect("the changes end")
    }
}

async fn change(store: Arc<Store>, rate: u32, users: usize, stop: CancellationToken) -> (f64, Vec<bool>) {
    let mut online = vec![true; users];
    let mut turns = interval(Duration::from_secs(1) / TURNS);
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (begun, mut changes) = (Instant::now(), 0_usize);
    while stop.run_until_cancelled(turns.tick()).await.is_some() {
        // Each turn's users are others than those of the turns before it, so that no key is written twice at once.
        let turn: Vec<usize> = (0..rate / TURNS).map(|i| (changes + i as usize) % users).collect();
        for user in &turn {
            online[*user] = !online[*user];
        }
        let writes = turn.iter().map(|user| set(&store, *user, online[*user]));
        futures_util::future::join_all(writes).await;
        changes += turn.len();
    }
    (changes as f64 / begun.elapsed().as_secs_f64(), online)
}

async fn set(store: &Store, user: usize, online: bool) {
    let key = subject::key(&["u", &name(user), NODE, INCARNATION]);
    if !online {
        store.delete(&key).await.expect("the key is deleted");
        return;
    }
    let since = id::now_ms();
    let value = UserOnNode {
        connections: 1,
        since,
        infos: vec![ConnectionInfo {
            id: format!("{NODE}-{user:x}"),
            device: "phone".to_owned(),
            dialect: "herald.v1.json".to_owned(),
            address: "127.0.0.1:12345".to_owned(),
            since,
        }],
    };
    let value = Bytes::from(value.encode_to_vec());
    store.put(&key, value).await.expect("the key is stored");
}

async fn refresh(store: Arc<Store>, stop: CancellationToken) {
    let mut refreshes = interval(limits::LEASE / 3);
    while stop.run_until_cancelled(refreshes.tick()).await.is_some() {
        put_lease(&store).await;
    }
}

/// It does not end by itself, as a gateway's would: that is not what is measured.
async fn put_lease(store: &Store) {
    let lease = Lease {
        incarnation: INCARNATION.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Lease::default()
    };
    let key = subject::key(&["n", NODE]);
    let put = store.put(&key, lease.encode_to_vec().into()).await;
    put.expect("the lease is stored");
}
