//! A worker: takes orders line by line, and tells what happens.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    fleet::Fleet,
    plan::{Event, Order, Plan},
};

/// Events that wait for the pipe: one a second, and one for each order.
const EVENTS: usize = 64;

/// Works until it is told to end, or whoever gives the orders is gone. The first line is the plan.
pub async fn work(orders: impl AsyncRead + Unpin, events: impl AsyncWrite + Unpin + Send + 'static) -> Result<()> {
    let mut lines = BufReader::new(orders).lines();
    let plan = lines.next_line().await?.context("no plan came")?;
    let plan: Plan = serde_json::from_str(&plan).context("the plan")?;
    let fleet = Fleet::new(&plan);
    let (told, mut telling) = mpsc::channel::<Event>(EVENTS);
    let writer = tokio::spawn(async move {
        let mut events = events;
        while let Some(event) = telling.recv().await {
            events.write_all(&line(&event)?).await?;
            events.flush().await?;
        }
        anyhow::Ok(())
    });
    let ticking = tokio::spawn(tick(Arc::clone(&fleet), told.clone()));
    let mut told_to_end = false;
    let mut next = lines.next_line().await?;
    while let Some(order) = next {
        let order = serde_json::from_str(&order).context("an order")?;
        // Whoever gives another order before this one is carried out wants it no more; whose end is here, nothing.
        let (event, following) = tokio::select! {
            event = obey(&fleet, order) => (event, None),
            line = lines.next_line() => (Some(Event::Done { late: 0 }), Some(line?)),
        };
        let Some(event) = event else {
            told_to_end = true;
            break;
        };
        if told.send(event).await.is_err() {
            break;
        }
        next = match following {
            Some(line) => line,
            None => lines.next_line().await?,
        };
    }
    ticking.abort();
    // Cancelled, as asked.
    let _ = ticking.await;
    fleet.end().await;
    drop(told);
    match writer.await {
        Ok(written) if told_to_end => written,
        // Whoever gave the orders has gone, and reads nothing any more.
        Ok(_) => Ok(()),
        // The process ends.
        Err(error) if error.is_cancelled() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn obey(fleet: &Arc<Fleet>, order: Order) -> Option<Event> {
    let late = match order {
        Order::Population { clients, rate } => fleet.population(clients, rate).await,
        Order::Churn { rate, away_ms } => {
            fleet.churn(rate, Duration::from_millis(away_ms));
            0
        }
        Order::Calm => fleet.calm().await,
        Order::Storm { jitter_ms } => fleet.storm(Duration::from_millis(jitter_ms)).await,
        Order::Settle { sent, quiet_ms } => {
            let settled = fleet.settle(&sent, Duration::from_millis(quiet_ms)).await;
            return Some(Event::Settled(settled));
        }
        Order::End => return None,
    };
    Some(Event::Done { late })
}

async fn tick(fleet: Arc<Fleet>, told: mpsc::Sender<Event>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        if told.send(Event::Tick(fleet.board().tick())).await.is_err() {
            return;
        }
    }
}

/// A value as a line.
pub fn line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
