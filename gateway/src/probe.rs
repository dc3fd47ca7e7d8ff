//! Whether a router answers: they are asked again and again, through the queue group that all commands go through.

use std::{borrow::Cow, future::ready, time::Duration};

use futures_util::{StreamExt, stream};
use herald_router::health::Last;
use tokio::time::{MissedTickBehavior, interval};

use crate::routers::Routers;

/// Often enough that one router which does not answer, but still gets its share of the questions, hides no other.
const EVERY: Duration = Duration::from_millis(500);
const AT_ONCE: usize = 4;
const DEADLINE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Probe(Last);

impl Probe {
    /// Works until dropped.
    pub async fn run(&self, routers: &Routers) {
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ticks = stream::unfold(every, |mut every| async {
            every.tick().await;
            Some(((), every))
        });
        let answers = ticks.map(|()| routers.ping(DEADLINE)).buffer_unordered(AT_ONCE);
        answers
            .for_each(|answer| {
                if answer.is_ok() {
                    self.0.note();
                }
                ready(())
            })
            .await;
    }

    /// Err says for how long no router has answered.
    pub fn check(&self) -> Result<(), Cow<'static, str>> {
        match self.0.missing() {
            None => Ok(()),
            Some(None) => Err("no router has answered yet".into()),
            Some(Some(long)) => Err(format!("no router has answered for {:.1} s", long.as_secs_f32()).into()),
        }
    }
}
