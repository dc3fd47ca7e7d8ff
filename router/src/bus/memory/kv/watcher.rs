//! The task behind one watch.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Shared, table::Changes};
use crate::bus::{Bucket, KvEvent};

/// Changes taken from the bucket at once: its lock is held that long.
const BATCH: usize = 256;

pub(super) struct Watcher {
    shared: Arc<Shared>,
    bucket: Bucket,
    prefix: String,
    sender: mpsc::Sender<KvEvent>,
}

/// The watch was dropped.
struct Gone;

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, bucket: Bucket, prefix: &str, sender: mpsc::Sender<KvEvent>) -> Self {
        Self {
            shared,
            bucket,
            prefix: prefix.to_owned(),
            sender,
        }
    }

    /// Ends when the watch is dropped.
    pub(super) async fn run(self) {
        // `Gone` is how it ends; there is nothing else to tell.
        let Err(Gone) = self.tell().await;
    }

    async fn tell(&self) -> Result<std::convert::Infallible, Gone> {
        let state = self.shared.state(self.bucket);
        let mut changed = state.changed.subscribe();
        let mut told = 0;
        // Where the snapshot ends: `Current` follows it.
        let mut base = state.table().revision();
        let mut current = false;
        loop {
            changed.mark_unchanged();
            let changes = state
                .table()
                .changes(told, base, BATCH, |key| in_prefix(key, &self.prefix));
            match changes {
                Changes::Lost => {
                    self.send(KvEvent::Reset).await?;
                    told = 0;
                    base = state.table().revision();
                    current = false;
                }
                Changes::Events { events, upto } => {
                    let progress = upto > told;
                    told = upto;
                    for event in events {
                        self.send(event).await?;
                    }
                    if !current && told >= base {
                        current = true;
                        self.send(KvEvent::Current).await?;
                    }
                    if !progress {
                        // The sender lives in `shared`, which we hold.
                        changed.changed().await.map_err(|_| Gone)?;
                    }
                }
            }
        }
    }

    async fn send(&self, event: KvEvent) -> Result<(), Gone> {
        self.sender.send(event).await.map_err(|_| Gone)
    }
}

/// Whether `key` begins with all tokens of `prefix`.
fn in_prefix(key: &str, prefix: &str) -> bool {
    match key.strip_prefix(prefix) {
        Some(rest) => prefix.is_empty() || rest.is_empty() || rest.starts_with('.'),
        None => false,
    }
}
