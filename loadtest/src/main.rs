//! The load test: an outsider that speaks only the public wire.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;

use crate::{
    cli::{Cli, Command},
    options::Options,
    report::Run,
};

mod capacity;
mod cli;
mod clock;
mod drive;
mod floor;
mod measure;
mod nats_floor;
mod options;
mod report;
mod scenario;
mod stamp;
mod target;
mod wire;

/// Frames are small and short-lived, and many.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match start(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn start(command: Command) -> Result<ExitCode> {
    measure::machine::raise_file_limit();
    match command {
        // All of these block, or need no runtime.
        Command::Floor(args) => floor::run(&args)?,
        Command::Compare { a, b } => print!("{}", report::compare::compare(&read(&a)?, &read(&b)?)),
        Command::Show { file, html } => return show(&read(&file)?, None, html.as_deref()),
        Command::Capacity {
            load,
            machines,
            constants,
        } => {
            let needs = capacity::model::Needs::of(&load, &machines, &constants);
            print!("{}", capacity::text::text(&load, &machines, &needs));
        }
        other => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            return runtime.block_on(perform(other));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn perform(command: Command) -> Result<ExitCode> {
    use scenario::{broadcast, churn, group, http, idle, mixed, soak, storm, unicast};
    let (run, options) = match &command {
        Command::Idle(args) => (idle::run(args).await?, &args.options),
        Command::Unicast(args) => (unicast::run(args).await?, &args.options),
        Command::Group(args) => (group::run(args).await?, &args.options),
        Command::Broadcast(args) => (broadcast::run(args).await?, &args.options),
        Command::Churn(args) => (churn::run(args).await?, &args.options),
        Command::Storm(args) => (storm::run(args).await?, &args.options),
        Command::Http(args) => (http::run(args).await?, &args.options),
        Command::Mixed(args) => (mixed::run(args).await?, &args.options),
        Command::Soak(args) => (soak::run(args).await?, &args.options),
        Command::NatsFloor(args) => return show(&nats_floor::run(args).await?, args.out.as_deref(), None),
        Command::Worker => {
            drive::worker::work(tokio::io::stdin(), tokio::io::stdout()).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Floor(_) | Command::Compare { .. } | Command::Show { .. } | Command::Capacity { .. } => {
            return Ok(ExitCode::SUCCESS);
        }
    };
    let Options { out, html, .. } = options;
    show(&run, out.as_deref(), html.as_deref())
}

/// Prints a run and writes its files. The exit code says whether it was good.
fn show(run: &Run, out: Option<&Path>, html: Option<&Path>) -> Result<ExitCode> {
    print!("{}", report::table::table(run));
    if let Some(out) = out {
        write(out, &serde_json::to_string(run)?)?;
    }
    if let Some(html) = html {
        write(html, &report::html::page(run))?;
    }
    Ok(if run.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{}", path.display()))
}

fn read(path: &PathBuf) -> Result<Run> {
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no report of a run", path.display()))
}
