//! The same load for hours: does memory grow, does latency?

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{
    Pace,
    stage::{Cast, Stage},
};
use crate::{
    bounds,
    drive::plan::{Grouping, Order},
    options::Options,
    report::{Point, Run},
    stop::Stop,
    target::{To, able::Wants},
};

#[derive(Debug, Args)]
pub struct Soak {
    #[command(flatten)]
    pub options: Options,
    /// Clients
    #[arg(long, value_parser = bounds::CLIENTS.whole::<usize>(), default_value = "1000", help_heading = "Load")]
    pub clients: usize,
    /// Groups, of which each client belongs to one
    #[arg(long, value_parser = bounds::GROUPS.whole::<u32>(), default_value = "20", help_heading = "Load")]
    pub groups: u32,
    /// Messages a second: to groups and single clients in turn
    #[arg(long, value_parser = bounds::RATE.number(), default_value = "20", help_heading = "Load")]
    pub rate: f64,
    /// Clients that leave and come back, a second
    #[arg(long, value_parser = bounds::LEAVE_RATE.number(), default_value = "2", help_heading = "Load")]
    pub leave_rate: f64,
    /// How long
    #[arg(long, value_parser = bounds::DURATION.time(), value_name = "TIME", default_value = "10m", help_heading = "Load")]
    pub duration: Duration,
}

pub async fn run(args: &Soak, stop: &Stop) -> Result<Run> {
    let (groups, clients) = (args.groups, args.clients);
    let pace = Pace::steady(args.rate, args.duration);
    pace.check()?;
    let cast = Cast {
        scenario: "soak",
        clients,
        groups: Grouping { count: groups },
        wants: Wants {
            groups,
            users: true,
            cursors: true,
        },
    };
    let mut stage = Stage::open(cast, &args.options, stop).await?;
    stage.parameters(pace.parameters());
    stage.parameters([("leave rate", args.leave_rate.to_string())]);
    let to = move |turn: u64| {
        let half = turn / 2;
        if turn.is_multiple_of(2) {
            To::Group((half % u64::from(groups)) as u32)
        } else {
            To::User((half % clients as u64) as usize)
        }
    };
    let soak = async |stage: &mut Stage<'_>| {
        stage.ramp().await?;
        stage.senders(pace.senders(), groups).await?;
        let leave = |_, workers: usize| Order::Churn {
            rate: args.leave_rate / workers as f64,
            away_ms: 1_000,
        };
        stage.crew().order(leave).await?;
        stage.send(pace.schedule(to), args.duration).await?;
        stage.calm().await?;
        stage.settle().await
    };
    let mut run = stage.play(soak).await?;
    trends(&mut run);
    Ok(run)
}

/// The last quarter beside the second: the first one warms up.
fn trends(run: &mut Run) {
    let quarter = run.series.len() / 4;
    if quarter == 0 {
        return;
    }
    let [second, last] = [&run.series[quarter..2 * quarter], &run.series[3 * quarter..]];
    let mean = |points: &[Point], of: &dyn Fn(&Point) -> Option<f64>| {
        let values: Vec<f64> = points.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let p99 = |point: &Point| Some(point.latency?.p99 as f64);
    let mut figures = Vec::new();
    if let (Some(before), Some(after)) = (mean(second, &p99), mean(last, &p99)) {
        figures.push(("p99_of_the_last_quarter_to_the_second".to_owned(), after / before));
    }
    for (number, name) in run.processes.iter().enumerate() {
        let rss = |point: &Point| point.rss.get(number).map(|rss| *rss as f64);
        if let (Some(before), Some(after)) = (mean(second, &rss), mean(last, &rss)) {
            figures.push((format!("growth_kib_{name}"), (after - before) / 1024.0));
        }
    }
    run.figures.extend(figures);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_of_the_last_quarter_over_the_second() {
        let points = (0..8).map(|second| Point {
            rss: vec![1024 * second],
            ..Point::default()
        });
        let mut run = Run {
            processes: vec!["gateway".into()],
            series: points.collect(),
            ..Run::default()
        };
        trends(&mut run);
        assert_eq!(run.figures["growth_kib_gateway"], 4.0);
    }
}
