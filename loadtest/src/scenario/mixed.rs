//! A day of a game, scaled: players come in the morning and go at night, chat in guilds, whisper, and hear announcements;
//! connections break now and then. In the end all come back once more, and nobody has missed anything.

use std::{f64::consts::TAU, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep_until};

use super::stage::{Cast, Stage};
use crate::{
    bounds,
    drive::{
        crew::Crew,
        pacer::Due,
        plan::{Grouping, Order},
    },
    options::Options,
    report::Run,
    stop::Stop,
    target::{To, able::Wants},
};

/// Steps in which players come and go.
const HOURS: u32 = 24;
/// At the quietest hour so many of all players are there.
const NIGHT: f64 = 0.2;

#[derive(Debug, Args)]
pub struct Mixed {
    #[command(flatten)]
    pub options: Options,
    /// Players at the busiest hour
    #[arg(long, value_parser = bounds::CLIENTS.whole::<usize>(), default_value = "2000", help_heading = "Load")]
    pub clients: usize,
    /// Guilds, of which each player belongs to one
    #[arg(long, value_parser = bounds::GROUPS.whole::<u32>(), default_value = "40", help_heading = "Load")]
    pub groups: u32,
    /// Messages a second at the busiest hour: of ten, six go to guilds, four are whispers
    #[arg(long, value_parser = bounds::RATE.number(), default_value = "50", help_heading = "Load")]
    pub rate: f64,
    /// Announcements to everybody, in the whole day
    #[arg(long, value_parser = bounds::MESSAGES_OR_NONE.whole::<u32>(), default_value = "24", help_heading = "Load")]
    pub announcements: u32,
    /// How long the day lasts
    #[arg(long, value_parser = bounds::DURATION.time(), value_name = "TIME", default_value = "60s", help_heading = "Load")]
    pub duration: Duration,
    /// The same number gives the same messages
    #[arg(long, default_value_t = 1, help_heading = "Load")]
    pub seed: u64,
}

/// The share of players that are there, by the share of the day that is over: fewest at its beginning and end.
fn crowd(day: f64) -> f64 {
    NIGHT + (1.0 - NIGHT) * (1.0 - (TAU * day).cos()) / 2.0
}

/// The day's messages, ordered by time.
fn messages(args: &Mixed) -> Vec<Due> {
    let mut random = StdRng::seed_from_u64(args.seed);
    let day = args.duration.as_secs_f64();
    let mut all = Vec::new();
    let mut at = 0.0;
    while at < day {
        // Exponential pauses at the highest rate, thinned out by the crowd: a Poisson process that follows the day.
        at += -(1.0 - random.random::<f64>()).ln() / args.rate;
        if at >= day || random.random::<f64>() > crowd(at / day) {
            continue;
        }
        let to = if random.random::<f64>() < 0.6 {
            To::Group(random.random_range(0..args.groups))
        } else {
            To::User(random.random_range(0..args.clients))
        };
        all.push(Due {
            after: Duration::from_secs_f64(at),
            to,
        });
    }
    for turn in 0..args.announcements {
        let after = args.duration * (turn + 1) / (args.announcements + 1);
        all.push(Due { after, to: To::All });
    }
    all.sort_by_key(|due| due.after);
    all
}

pub async fn run(args: &Mixed, stop: &Stop) -> Result<Run> {
    bounds::DAY_MESSAGES
        .check(args.rate * args.duration.as_secs_f64())
        .context("--rate times --duration")?;
    let cast = Cast {
        scenario: "mixed",
        clients: args.clients,
        groups: Grouping { count: args.groups },
        wants: Wants {
            groups: args.groups,
            users: true,
            cursors: true,
        },
    };
    let mut stage = Stage::open(cast, &args.options, stop).await?;
    stage.parameters([
        ("rate", args.rate.to_string()),
        ("announcements", args.announcements.to_string()),
        ("duration", humantime::format_duration(args.duration).to_string()),
        ("seed", args.seed.to_string()),
    ]);
    let mixed = async |stage: &mut Stage<'_>| {
        // Everybody was there once, so that everybody has a cursor.
        stage.ramp().await?;
        stage.senders(4, args.groups).await?;
        let day = async |crew: &mut Crew| live_a_day(crew, args).await;
        let late = stage.send_while(messages(args).into_iter(), args.duration, day).await?;
        stage.late(late, "did not come in time");
        stage.moment("all come back");
        stage.population(args.clients, args.options.connect_rate).await?;
        stage.settle().await
    };
    stage.play(mixed).await
}

async fn live_a_day(crew: &mut Crew, args: &Mixed) -> Result<u64> {
    let begun = Instant::now();
    let mut late = 0;
    for hour in 0..HOURS {
        let there = (args.clients as f64 * crowd(f64::from(hour) / f64::from(HOURS))) as usize;
        let share = |number: usize, of: usize| (there + of - 1 - number) / of;
        late += crew
            .order(|number, of| Order::Population {
                clients: share(number, of),
                rate: None,
            })
            .await?;
        sleep_until(begun + args.duration * (hour + 1) / HOURS).await;
    }
    Ok(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crowd_is_smallest_at_night_and_whole_at_noon() {
        assert!((crowd(0.0) - NIGHT).abs() < 1e-9);
        assert!((crowd(0.5) - 1.0).abs() < 1e-9);
        assert!((crowd(1.0) - NIGHT).abs() < 1e-9);
    }
}
