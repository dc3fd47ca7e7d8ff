//! What holds in memory only: sinks run inside the append.

use std::{
    sync::{Arc, Weak, mpsc},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use herald_proto::Target;
use parking_lot::Mutex;

use super::MemoryLog;
use crate::bus::{LiveCopy, LiveSink, LiveSubscription, Log, LogLimits};

/// Ends its own subscription and begins another one of the same target, whenever it hears something.
struct Restless {
    log: Arc<MemoryLog>,
    me: Weak<Restless>,
    held: Mutex<Option<LiveSubscription>>,
    heard: Mutex<Vec<Bytes>>,
}

impl LiveSink for Restless {
    fn live(&self, target: &Target, copy: LiveCopy) {
        self.heard.lock().push(copy.payload);
        let Some(me) = self.me.upgrade() else { return };
        let again = self.log.subscribe(target, me).now_or_never();
        let again = again.expect("it never waits").expect("subscribed");
        let before = self.held.lock().replace(again);
        drop(before);
    }
}

#[test]
fn a_sink_may_subscribe_and_unsubscribe() {
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || {
        let log = Arc::new(MemoryLog::new(LogLimits {
            max_age: Duration::from_secs(60),
            max_messages_per_target: 100,
            max_bytes: 1 << 20,
            replicas: None,
        }));
        let target = Target::user("ann");
        let sink = Arc::new_cyclic(|me| Restless {
            log: log.clone(),
            me: me.clone(),
            held: Mutex::default(),
            heard: Mutex::default(),
        });
        let first = log.subscribe(&target, sink.clone()).now_or_never();
        *sink.held.lock() = Some(first.expect("it never waits").expect("subscribed"));
        for n in 0..3_u8 {
            let payload = Bytes::copy_from_slice(&[n]);
            let appended = log.append(&target, payload, &n.to_string()).now_or_never();
            appended.expect("it never waits").expect("appended");
        }
        let heard = sink.heard.lock().clone();
        // The subscription holds its sink, and this sink its subscription.
        drop(sink.held.lock().take());
        done.send(heard).expect("somebody waits");
    });
    let heard = finished.recv_timeout(Duration::from_secs(30));
    assert_eq!(
        heard,
        Ok(vec![
            Bytes::from_static(&[0]),
            Bytes::from_static(&[1]),
            Bytes::from_static(&[2])
        ])
    );
}
