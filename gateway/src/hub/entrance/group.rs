//! How a connection that is there already enters a group that its user joined.

use std::{sync::Arc, time::Duration};

use herald_proto::{LogId, Target, offset::Cursor};
use herald_router::bus::BusError;

use super::{Entry, Start};
use crate::{
    conn::Conn,
    hub::{Hub, catchup::Behind, topic::Topic},
};

/// How soon one who waits for another looks again, and for how long.
const SOON: Duration = Duration::from_millis(2);
const A_MOMENT: Duration = Duration::from_secs(1);

impl Hub {
    /// Adds a connection to a group of its user's, from the change on by which the user joined.
    pub(in crate::hub) async fn enter_group(
        self: &Arc<Self>,
        conn: &Arc<Conn>,
        user: &Arc<Topic>,
        name: &str,
        since: u64,
    ) -> Result<Vec<Behind>, BusError> {
        let group = Target::group(name);
        let entry = self.with_topic(&group, |topic, mut state| {
            // Both may have ended meanwhile; and one who is a member already has, or is given, all.
            let stays = {
                let user = user.state.lock();
                user.is_in(name) && user.has(conn)
            };
            match stays && state.add(conn) {
                true => Ok(Entry::new(topic, &state, since)),
                false => Err(topic.clone()),
            }
        });
        let entry = match entry.await? {
            Ok(entry) => entry,
            Err(topic) => {
                // The same change, heard of twice: what it is answered with holds for both.
                let caught_up = async {
                    while topic.state.lock().is_catching_up(conn) {
                        tokio::time::sleep(SOON).await;
                    }
                };
                // One with much to catch up with need not be waited for: it is given all, in order.
                let _in_time = tokio::time::timeout(A_MOMENT, caught_up).await.is_ok();
                return Ok(Vec::new());
            }
        };
        let entered = self.go_on_from(conn, entry, since).await;
        if entered.is_err() {
            self.detach(conn, &group);
        }
        entered
    }

    async fn go_on_from(&self, conn: &Arc<Conn>, entry: Entry, since: u64) -> Result<Vec<Behind>, BusError> {
        let entries = vec![entry];
        let start = Start::Cursor(Cursor::new(self.log_id()?, since));
        let newest = self.told_newest(&entries, &start).await?;
        self.go_live_or_behind(conn, entries, &newest).await
    }

    fn log_id(&self) -> Result<LogId, BusError> {
        let log = self.bus.log.id().borrow().clone();
        log.ok_or_else(|| BusError::Unavailable("the log was never reached".to_owned()))
    }
}
