//! A process of this machine, from `/proc`.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{Ended, Reading};

/// A process by its id.
pub struct Watched {
    id: u32,
    /// Of an id that is given to another process later.
    started: u64,
    last: Reading,
    pub ended: Option<Ended>,
}

impl Watched {
    pub fn new(id: u32) -> Result<Self> {
        let (started, last) = read_id(id)?;
        Ok(Self {
            id,
            started,
            last,
            ended: None,
        })
    }

    pub fn read(&mut self) -> Reading {
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
}
