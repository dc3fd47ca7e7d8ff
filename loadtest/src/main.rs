//! The load test: an outsider that speaks only the public wire.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};

use crate::{capacity::Capacity, cli::Command, report::Run, stop::Stop};

mod bounds;
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
mod stop;
mod target;
mod wire;

/// Frames are small and short-lived, and many.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match start(cli::parse().command) {
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
        Command::Capacity(Capacity {
            load,
            machines,
            constants,
        }) => {
            capacity::check(&load)?;
            let needs = capacity::model::Needs::of(&load, &machines, &constants);
            print!("{}", capacity::text::text(&load, &machines, &needs));
        }
        other => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let code = runtime.block_on(perform(other));
            // A thread that waits for a server which stands still is not waited for.
            runtime.shutdown_background();
            return code;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn perform(command: Command) -> Result<ExitCode> {
    if matches!(command, Command::Worker) {
        drive::worker::work(tokio::io::stdin(), tokio::io::stdout()).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(reports) = command.reports() {
        reports.check()?;
    }
    let stop = Stop::listen()?;
    let shown = match run(&command, &stop).await {
        Ok(Some((run, out, html))) => show(&run, out, html),
        Ok(None) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    };
    match stop.by() {
        Some(sign) => {
            if let Err(error) = shown {
                eprintln!("{error:#}");
            }
            Ok(ExitCode::from(sign.exit_code()))
        }
        None => shown,
    }
}

/// A run, and where its files go.
type Measured<'a> = (Run, Option<&'a Path>, Option<&'a Path>);

async fn run<'a>(command: &'a Command, stop: &Stop) -> Result<Option<Measured<'a>>> {
    use scenario::{broadcast, churn, group, http, idle, mixed, soak, storm, unicast};
    let run = match command {
        Command::Idle(args) => idle::run(args, stop).await?,
        Command::Unicast(args) => unicast::run(args, stop).await?,
        Command::Group(args) => group::run(args, stop).await?,
        Command::Broadcast(args) => broadcast::run(args, stop).await?,
        Command::Churn(args) => churn::run(args, stop).await?,
        Command::Storm(args) => storm::run(args, stop).await?,
        Command::Http(args) => http::run(args, stop).await?,
        Command::Mixed(args) => mixed::run(args, stop).await?,
        Command::Soak(args) => soak::run(args, stop).await?,
        Command::NatsFloor(args) => {
            return Ok(Some((nats_floor::run(args, stop).await?, args.out.as_deref(), None)));
        }
        Command::Worker | Command::Floor(_) | Command::Compare { .. } | Command::Show { .. } | Command::Capacity(_) => {
            return Ok(None);
        }
    };
    let files = command.reports();
    let out = files.and_then(|files| files.out.as_deref());
    let html = files.and_then(|files| files.html.as_deref());
    Ok(Some((run, out, html)))
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
