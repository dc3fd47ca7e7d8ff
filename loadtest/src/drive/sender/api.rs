//! A sender that posts to the application's interface, one message after another.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use anyhow::{Result, bail};
use hyper::Method;
use tokio::sync::mpsc;

use super::Stats;
use crate::{
    clock,
    drive::{client::World, pacer::Job},
    target::{Peer, Publish},
    wire::http::Http,
};

/// Works until the schedule has ended.
pub fn start(
    world: Arc<World>,
    stats: Arc<Stats>,
    index: usize,
    mut jobs: mpsc::Receiver<Job>,
    size: usize,
) -> Result<()> {
    let Some(address) = world.server.api.clone() else {
        bail!("this target is published to over HTTP: name it with --api");
    };
    let mut http = Http::new(address, world.sources, index);
    tokio::spawn(async move {
        while let Some(job) = jobs.recv().await {
            if let Err(error) = post(&mut http, &*world.peer, &stats, job, size).await {
                stats.refused.fetch_add(1, Relaxed);
                world.board.error(error);
            }
        }
    });
    Ok(())
}

async fn post(http: &mut Http, peer: &dyn Peer, stats: &Stats, job: Job, size: usize) -> Result<(), String> {
    let publish = peer.publish(job.to, &job.stamp.body(size), 0);
    let Ok(Publish::Post { path, headers, body }) = publish else {
        return Err("this target has no such messages over HTTP".to_owned());
    };
    stats.lag.record(0, clock::micros_since(job.stamp.due));
    stats.written.fetch_add(1, Relaxed);
    let answer = http.request(Method::POST, &path, &headers, body).await;
    let answer = answer.map_err(|error| format!("{}: {}", http.host(), error.kind()))?;
    let failed = memchr::memmem::find(&answer.body, b"\"error\"").is_some();
    if !(200..300).contains(&answer.status) || failed {
        let text: String = String::from_utf8_lossy(&answer.body).chars().take(120).collect();
        return Err(format!("{}: {text}", answer.status));
    }
    stats.answer.record(0, clock::micros_since(job.stamp.due));
    stats.answered.fetch_add(1, Relaxed);
    Ok(())
}
