//! CPU time and memory of processes: from `/proc` by their ids, or from a server's `/metrics`. A server that ends meanwhile
//! keeps its last figures.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    clock,
    wire::{Address, http::Http},
};
use watched::Watched;

mod watched;

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
