//! CPU time and memory of processes: from `/proc` by their ids, or from a server's `/metrics`.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::wire::{Address, http::Http};

/// One of the servers under load, or the load test itself.
pub struct Process {
    pub name: String,
    source: Source,
}

enum Source {
    /// Several count as one.
    Ids(Vec<u32>),
    Metrics {
        http: Http,
        path: String,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// User and system time since the process began.
    pub cpu_us: u64,
    pub rss: u64,
}

impl Process {
    pub fn of_ids(name: impl Into<String>, ids: Vec<u32>) -> Self {
        Self {
            name: name.into(),
            source: Source::Ids(ids),
        }
    }

    /// `name=id`, or an id alone.
    pub fn parse_id(text: &str) -> Result<Self> {
        let (name, id) = text.split_once('=').unwrap_or(("server", text));
        let id = id.parse().with_context(|| format!("{id} is no process id"))?;
        read_id(id).with_context(|| format!("process {id}"))?;
        Ok(Self::of_ids(name, vec![id]))
    }

    /// `name=http://…/metrics`, or the URL alone: the metrics that Prometheus' own client libraries give.
    pub async fn parse_metrics(text: &str) -> Result<Self> {
        let (name, url) = match text.split_once('=') {
            Some((name, url)) if !name.contains("://") => (name, url),
            _ => ("server", text),
        };
        let address = Address::resolve(url).await?;
        let path = if address.path.is_empty() {
            "/metrics".into()
        } else {
            address.path.clone()
        };
        let http = Http::new(address, 1, 0);
        let mut process = Self {
            name: name.to_owned(),
            source: Source::Metrics { http, path },
        };
        process.read().await?;
        Ok(process)
    }

    pub async fn read(&mut self) -> Result<Reading> {
        match &mut self.source {
            Source::Ids(ids) => {
                let mut sum = Reading::default();
                for id in ids {
                    let one = read_id(*id).with_context(|| format!("{} (process {id}) is gone", self.name))?;
                    sum.cpu_us += one.cpu_us;
                    sum.rss += one.rss;
                }
                Ok(sum)
            }
            Source::Metrics { http, path } => {
                let answer = http.request(hyper::Method::GET, path, &[], "").await?;
                let text = String::from_utf8_lossy(&answer.body);
                from_metrics(&text).with_context(|| {
                    format!(
                        "{} tells no process_cpu_seconds_total and process_resident_memory_bytes",
                        self.name
                    )
                })
            }
        }
    }
}

fn read_id(id: u32) -> Result<Reading> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let ticks = ticks(&stat).context("an unknown format of /proc/<id>/stat")?;
    let statm = fs::read_to_string(format!("/proc/{id}/statm"))?;
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .context("an unknown format of /proc/<id>/statm")?
        .parse()?;
    Ok(Reading {
        cpu_us: ticks * 1_000_000 / rustix::param::clock_ticks_per_second(),
        rss: pages * rustix::param::page_size() as u64,
    })
}

/// User and system time, threads that have ended included.
fn ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in brackets, which may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn from_metrics(text: &str) -> Option<Reading> {
    let value = |name: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let mut values = lines.filter_map(|rest| rest.trim().parse::<f64>().ok());
        values.next()
    };
    Some(Reading {
        cpu_us: (value("process_cpu_seconds_total")? * 1e6) as u64,
        rss: value("process_resident_memory_bytes")? as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_brackets_does_not_confuse() {
        let stat = "42 (a) b) S 1 1 1 0 -1 4194304 100 0 0 0 17 25 0 0 20 0 3 0 500 1000 200";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn this_process_is_measured() {
        let reading = read_id(std::process::id()).expect("this process");
        assert!(reading.rss > 100_000);
    }

    #[test]
    fn metrics_are_read() {
        let text =
            "# HELP process_cpu_seconds_total x\nprocess_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 4096\n";
        assert_eq!(
            from_metrics(text),
            Some(Reading {
                cpu_us: 1_500_000,
                rss: 4096
            })
        );
        assert_eq!(from_metrics("other 1\n"), None);
    }
}
