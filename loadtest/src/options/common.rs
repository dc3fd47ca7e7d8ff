//! What scenarios of all kinds have on the command line: whom to watch, and where the report goes.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::measure::usage::Process;

#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct Watched {
    /// A server's process on this machine, for CPU and memory; repeat it
    #[arg(long, value_name = "[NAME=]PID")]
    pub pid: Vec<String>,
    /// A server's metrics, for the same, where it runs elsewhere; repeat it
    #[arg(long, value_name = "[NAME=]URL")]
    pub metrics: Vec<String>,
}

impl Watched {
    pub async fn processes(&self) -> Result<Vec<Process>> {
        let mut processes = Vec::new();
        for text in &self.pid {
            processes.push(Process::parse_id(text).with_context(|| format!("--pid {text}"))?);
        }
        for text in &self.metrics {
            let process = Process::parse_metrics(text).await;
            processes.push(process.with_context(|| format!("--metrics {text}"))?);
        }
        Ok(processes)
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Reports")]
pub struct Reports {
    /// Name of the run, in its reports
    #[arg(long)]
    pub name: Option<String>,
    /// Write all of it as JSON, for `compare`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write a page with charts
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// No progress bar
    #[arg(long)]
    pub quiet: bool,
}

impl Reports {
    /// Before a run: what cannot be written at its end would cost all of it.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.out.is_none() || self.out != self.html,
            "--out and --html name the same file"
        );
        for (option, path) in [("--out", &self.out), ("--html", &self.html)] {
            if let Some(path) = path {
                can_be_written(path).with_context(|| format!("{option} {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Leaves what is there as it is.
pub fn can_be_written(path: &Path) -> std::io::Result<()> {
    let new = !path.exists();
    OpenOptions::new().append(true).create(true).open(path)?;
    if new {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_known_before_and_nothing_is_left_behind() {
        let path = std::env::temp_dir().join(format!("herald-loadtest-{}", std::process::id()));
        can_be_written(&path).expect("a new file");
        assert!(!path.exists());
        fs::write(&path, "an earlier report").expect("written");
        can_be_written(&path).expect("an old file");
        assert_eq!(fs::read_to_string(&path).expect("read"), "an earlier report");
        assert!(can_be_written(&path.join("below a file")).is_err());
        fs::remove_file(&path).expect("removed");
    }
}
