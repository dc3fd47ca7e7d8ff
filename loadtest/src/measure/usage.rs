//! CPU time and memory of processes: from `/proc` by their ids, or from a server's `/metrics`. A server that ends meanwhile
//! keeps its last figures.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    clock,
    wire::{Address, http::Http},
};

/// One of the servers under load, or the load test itself.
pub struct Process {
    pub name: String,
    source: Source,
}

enum Source {
    /// Several count as one.
    Ids(Vec<Watched>),
    Metrics {
        http: Http,
        path: String,
        last: Reading,
        ended: Option<Ended>,
    },
}

struct Watched {
    id: u32,
    /// Of an id that is given to another process later.
    started: u64,
    last: Reading,
    ended: Option<Ended>,
}

/// Since when a server tells nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// On [`clock`].
    pub at: u64,
    pub what: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// User and system time since the process began.
    pub cpu_us: u64,
    pub rss: u64,
}

impl Process {
    /// Those that are not there count nothing.
    pub fn of_ids(name: impl Into<String>, ids: &[u32]) -> Self {
        let watched = ids.iter().filter_map(|id| Watched::new(*id).ok());
        Self {
            name: name.into(),
            source: Source::Ids(watched.collect()),
        }
    }

    /// `name=id`, or an id alone.
    pub fn parse_id(text: &str) -> Result<Self> {
        let (name, id) = text.split_once('=').unwrap_or(("server", text));
        let id = id.parse().with_context(|| format!("{id} is no process id"))?;
        let watched = Watched::new(id).with_context(|| format!("process {id}"))?;
        Ok(Self {
            name: name.into(),
            source: Source::Ids(vec![watched]),
        })
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
        let mut http = Http::new(address, 1, 0);
        let last = scrape(&mut http, &path).await?;
        Ok(Self {
            name: name.to_owned(),
            source: Source::Metrics {
                http,
                path,
                last,
                ended: None,
            },
        })
    }

    /// Now, or when it was last there.
    pub async fn read(&mut self) -> Reading {
        match &mut self.source {
            Source::Ids(all) => {
                let mut sum = Reading::default();
                for one in all {
                    let reading = one.read();
                    sum.cpu_us += reading.cpu_us;
                    sum.rss += reading.rss;
                }
                sum
            }
            Source::Metrics {
                http,
                path,
                last,
                ended,
            } => {
                match scrape(http, path).await {
                    Ok(reading) => (*last, *ended) = (reading, None),
                    Err(error) => {
                        ended.get_or_insert_with(|| Ended::now(format!("gave no metrics any more ({error:#})")));
                    }
                }
                *last
            }
        }
    }

    /// What is not there any more.
    pub fn ended(&self) -> Vec<Ended> {
        let ended: Vec<&Ended> = match &self.source {
            Source::Ids(all) => all.iter().filter_map(|one| one.ended.as_ref()).collect(),
            Source::Metrics { ended, .. } => ended.iter().collect(),
        };
        let named = ended.into_iter().map(|ended| Ended {
            at: ended.at,
            what: format!("{} {}", self.name, ended.what),
        });
        named.collect()
    }
}

impl Ended {
    fn now(what: String) -> Self {
        Self { at: clock::now(), what }
    }
}

impl Watched {
    fn new(id: u32) -> Result<Self> {
        let (started, last) = read_id(id)?;
        Ok(Self {
            id,
            started,
            last,
            ended: None,
        })
    }

    fn read(&mut self) -> Reading {
        match read_id(self.id) {
            Ok((started, reading)) if started == self.started && self.ended.is_none() => self.last = reading,
            _ => {
                let id = self.id;
                self.ended
                    .get_or_insert_with(|| Ended::now(format!("(process {id}) ended")));
            }
        }
        self.last
    }
}

async fn scrape(http: &mut Http, path: &str) -> Result<Reading> {
    let answer = http.request(hyper::Method::GET, path, &[], "").await?;
    let text = String::from_utf8_lossy(&answer.body);
    from_metrics(&text).with_context(|| {
        format!(
            "status {}, without process_cpu_seconds_total and process_resident_memory_bytes",
            answer.status
        )
    })
}

/// When it was started, and what it has used; an error where it is gone.
fn read_id(id: u32) -> Result<(u64, Reading)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let Stat { ticks, started } = Stat::parse(&stat).context("it has ended")?;
    let statm = fs::read_to_string(format!("/proc/{id}/statm"))?;
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .context("an unknown format of /proc/<id>/statm")?
        .parse()?;
    ensure!(pages > 0, "it is ending");
    let reading = Reading {
        cpu_us: ticks * 1_000_000 / rustix::param::clock_ticks_per_second(),
        rss: pages * rustix::param::page_size() as u64,
    };
    Ok((started, reading))
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// User and system time, threads that have ended included.
    ticks: u64,
    /// In ticks since the machine was started.
    started: u64,
}

impl Stat {
    /// None for a process that has ended and whose parent has not asked how.
    fn parse(stat: &str) -> Option<Self> {
        // The second field is the program's name in brackets, which may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        Some(Self {
            ticks: number(11)? + number(12)?,
            started: number(19)?,
        })
    }
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
        let (ticks, started) = (42, 500);
        assert_eq!(Stat::parse(stat), Some(Stat { ticks, started }));
        assert_eq!(Stat::parse(&stat.replace("b) S", "b) Z")), None, "it has ended");
        assert_eq!(Stat::parse("nonsense"), None);
    }

    #[test]
    fn this_process_is_measured() {
        let (_, reading) = read_id(std::process::id()).expect("this process");
        assert!(reading.rss > 100_000);
    }

    #[tokio::test]
    async fn a_process_that_ends_keeps_its_figures_and_tells_when() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("a process");
        let mut process = Process::parse_id(&format!("server={}", child.id())).expect("it is there");
        assert!(process.ended().is_empty());
        child.kill().expect("killed");
        // Its parent does not ask how it ended until later.
        while process.ended().is_empty() {
            process.read().await;
        }
        assert!(process.read().await.rss > 0);
        assert_eq!(
            process.ended()[0].what,
            format!("server (process {}) ended", child.id())
        );
        child.wait().expect("it has ended");
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
