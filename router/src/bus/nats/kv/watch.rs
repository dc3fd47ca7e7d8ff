//! Watches. Whenever one loses its place, for whatever reason, it begins anew with `Reset`: resuming would miss the
//! traces of deletions that ended meanwhile.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_nats::jetstream::stream::Info;
use tokio::{sync::mpsc, time::sleep};

use super::{
    super::{Shared, error::ApiError, streams},
    consumer::{Consumer, Delivery, stream_info},
    filters, is_marker,
    standing::Standing,
};
use crate::bus::{Bucket, BusError, KvEvent, Watch};

/// Events that wait for a slow receiver; what more there is waits in the server.
const PENDING: usize = 256;
/// How soon a bucket that was emptied or made anew is noticed.
const CHECK: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(250);
/// A watch further behind may have missed the trace of a deletion.
const LAG: Duration = Duration::from_secs(streams::MARKER.as_secs() / 2);

pub(super) fn begin(shared: &Shared, bucket: Bucket, prefix: &str) -> Watch {
    let (sender, receiver) = mpsc::channel(PENDING);
    let subject = streams::bucket_subject(&shared.names, bucket);
    let watcher = Watcher {
        stream: streams::bucket_stream(&shared.names, bucket),
        shared: shared.clone(),
        filters: filters(&subject, prefix),
        subject,
        sender,
        told: false,
    };
    let stop = shared.shutdown.child_token();
    let stopped = stop.clone();
    shared.tasks.spawn(async move {
        stopped.run_until_cancelled(watcher.run()).await;
    });
    Watch {
        receiver,
        _stop: stop.drop_guard(),
    }
}

struct Watcher {
    shared: Shared,
    stream: String,
    subject: String,
    filters: Vec<String>,
    sender: mpsc::Sender<KvEvent>,
    /// The receiver holds something that a new beginning must take back.
    told: bool,
}

/// Why following the bucket ended.
enum End {
    /// The watch was dropped.
    Gone,
    Lost(String),
}

impl From<BusError> for End {
    fn from(error: BusError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        BusError::from(error).into()
    }
}

impl Watcher {
    async fn run(mut self) {
        loop {
            self.shared.link.wait_up().await;
            let Err(end) = self.follow().await;
            match end {
                End::Gone => return,
                End::Lost(why) => tracing::debug!(stream = self.stream, why, "watch begins anew"),
            }
            sleep(RETRY).await;
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, End> {
        let connection = self.shared.link.connection();
        let found = stream_info(&self.shared, &self.stream).await?;
        let consumer = Consumer::make(&self.shared, &self.stream, &self.filters).await?;
        if std::mem::replace(&mut self.told, true) {
            self.send(KvEvent::Reset).await?;
        }
        let began = *connection.borrow();
        let (looked, looks) = mpsc::channel(1);
        let last = AtomicU64::new(0);
        let (shared, stream) = (self.shared.clone(), self.stream.clone());
        let mut changed = connection.clone();
        tokio::select! {
            end = self.tell(consumer, &found, &last, looks) => end,
            end = look(&shared, &stream, &last, looked) => end,
            _ = changed.wait_for(|now| *now != began) => Err(End::Lost("the connection was lost".to_owned())),
        }
    }

    async fn tell(
        &self,
        mut consumer: Consumer,
        found: &Info,
        last: &AtomicU64,
        mut looks: mpsc::Receiver<Look>,
    ) -> Result<std::convert::Infallible, End> {
        let mut standing = Standing::new(found.state.last_sequence);
        let mut told = 0;
        let mut current = consumer.waiting == 0;
        if current {
            self.send(KvEvent::Current).await?;
        }
        // Nothing waits behind what was told last.
        let mut caught_up = current;
        loop {
            let next = consumer.next().await?;
            // A heartbeat comes every second, so a look waits no longer than that.
            if let Ok(info) = looks.try_recv() {
                let Look { info, told: before } = info;
                // What was told since it was asked for says nothing of it.
                let other = info.created != found.created || info.state.last_sequence < before;
                let state = info.state;
                if other || caught_up && standing.emptied(state.messages, state.first_sequence, state.last_sequence) {
                    return Err(End::Lost("the bucket was emptied or made anew".to_owned()));
                }
            }
            match next {
                Some(delivery) => {
                    told += 1;
                    last.store(delivery.sequence, Ordering::Relaxed);
                    caught_up = delivery.waiting == 0;
                    if current && lags(delivery.stored_ns) {
                        return Err(End::Lost("too far behind".to_owned()));
                    }
                    self.send(self.event(delivery, &mut standing)?).await?;
                }
                None => caught_up = true,
            }
            if !current && (caught_up || told >= consumer.waiting) {
                current = true;
                self.send(KvEvent::Current).await?;
            }
        }
    }

    fn event(&self, delivery: Delivery, standing: &mut Standing) -> Result<KvEvent, End> {
        let message = delivery.message;
        let key = message.subject.strip_prefix(&self.subject);
        let key = key.ok_or_else(|| End::Lost("a message of another bucket".to_owned()))?;
        let (revision, time) = (delivery.sequence, delivery.stored_ns / 1_000_000);
        if message.headers.as_ref().is_some_and(is_marker) {
            standing.delete(key);
            return Ok(KvEvent::Delete {
                key: key.to_owned(),
                revision,
                time,
            });
        }
        standing.put(key, revision);
        Ok(KvEvent::Put {
            key: key.to_owned(),
            value: message.payload,
            revision,
            time,
        })
    }

    async fn send(&self, event: KvEvent) -> Result<(), End> {
        self.sender.send(event).await.map_err(|_| End::Gone)
    }
}

/// The bucket, as it was found.
struct Look {
    info: Info,
    /// The last sequence that had been told when it was asked for.
    told: u64,
}

/// Looks at the bucket now and then; ends when it is not there.
async fn look(
    shared: &Shared,
    stream: &str,
    last: &AtomicU64,
    looked: mpsc::Sender<Look>,
) -> Result<std::convert::Infallible, End> {
    loop {
        sleep(CHECK).await;
        let told = last.load(Ordering::Relaxed);
        match stream_info(shared, stream).await {
            // The receiver lives as long as this.
            Ok(info) => looked.send(Look { info, told }).await.map_err(|_| End::Gone)?,
            Err(ApiError::NotFound) => return Err(End::Lost("the bucket is gone".to_owned())),
            // Heartbeats tell whether the consumer is there; this look is missed only.
            Err(error) => {
                tracing::debug!(stream, error = %BusError::from(error), "no look at the bucket");
                tokio::task::yield_now().await;
            }
        }
    }
}

fn lags(stored_ns: u64) -> bool {
    let stored = UNIX_EPOCH + Duration::from_nanos(stored_ns);
    SystemTime::now().duration_since(stored).is_ok_and(|lag| lag > LAG)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_watch_begins_anew_before_it_can_miss_a_deletion() {
        assert!(super::LAG + super::super::super::READ < super::streams::MARKER);
    }
}
