//! The processes of the nodes, each in its namespace.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// One node's process, or its place where it is down. Killed when dropped.
pub struct Process {
    space: String,
    command: Vec<String>,
    pub log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// `command` begins with the program.
    pub fn new(space: String, command: Vec<String>, folder: &Path) -> Self {
        Self {
            log: folder.join(format!("{space}.log")),
            space,
            command,
            child: None,
        }
    }

    /// Its log goes on where it ended.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log: File = OpenOptions::new().create(true).append(true).open(&self.log)?;
        // Becomes the program, under the same process id.
        let child = Command::new("ip")
            .args(["netns", "exec", &self.space])
            .args(&self.command)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", self.space))?;
        self.child = Some(child);
        Ok(())
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            // It may have ended by itself, which its state tells.
            let _ = kill_process(id, signal);
        }
    }

    /// kill -9; it is gone when this returns.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it has ended though nobody killed it.
    pub fn has_ended(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    pub fn keep_log(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        fs::copy(&self.log, folder.join(self.log.file_name().context("a name")?))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
