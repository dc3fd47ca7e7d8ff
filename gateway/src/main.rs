//! `herald-gateway`: one gateway node, and the commands around it.

use std::{fmt::Display, io::Write, process::ExitCode};

use clap::Parser;
use herald_gateway::{
    cli::{self, Args, Command},
    config, node,
};
use herald_router::{cli::BAD_CONFIG, reload::Configured};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    match args.command {
        Some(Command::Config) => print(config::DEFAULT),
        Some(Command::Check { config }) => match cli::check(&config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(BAD_CONFIG, error),
        },
        Some(Command::Hash) => match cli::hash() {
            Ok(hash) => print(&format!("{hash}\n")),
            Err(error) => fail(1, error),
        },
        Some(Command::Token(token)) => match cli::token(token) {
            Ok(token) => print(&format!("{token}\n")),
            Err(error) => fail(BAD_CONFIG, error),
        },
        None => match cli::configure(args.run.clone()) {
            Ok(configured) => run(configured, args.run),
            Err(error) => fail(BAD_CONFIG, error),
        },
    }
}

#[tokio::main]
async fn run(configured: Configured<config::GatewayConfig>, from: cli::Run) -> ExitCode {
    let again = move || cli::configure(from.clone());
    match node::run(configured, again).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, format!("herald-gateway: {error:#}")),
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, error),
    }
}

fn fail(code: u8, error: impl Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(code)
}
