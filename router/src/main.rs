//! `herald-router`: one router node.

use std::{io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};
use herald_proto::{cluster::NodeStatus, id, subject::Names};
use herald_router::{
    admin::Admin,
    bus::nats::{self, NatsConfig},
    cli::{self, ConfigError},
    config::{self, ApiKeySettings, Faults, RouterConfig, Secret},
    core::Router,
    drain::{self, Drain},
    events::Emitter,
    health::{Condition, Pulse},
    http, metrics,
    operators::Operators,
    policy::Policy,
    reload::{Configured, Live},
    service::{self, Readiness},
    shutdown::{Hangups, Signals},
    status, telemetry,
    tls::Tls,
    webhooks,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What happened last is told within this.
const GOODBYE: Duration = Duration::from_secs(2);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(version, about = "Herald's router: delivery, groups, presence")]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Check a configuration: exit 0, or name each fault and exit 2
    Check {
        #[arg(long)]
        config: PathBuf,
    },
    /// Print the whole commented default configuration
    Config,
    /// Ask a running router to drain, and wait until it has ended
    Drain(drain::Args),
}

/// Opens the admin listener with `--dev`; too short to be anybody's elsewhere.
const DEV_API_KEY: &str = "dev-api-key";
/// Where a router listens unless it is told otherwise.
const ADMIN: &str = "http://127.0.0.1:9003";

#[derive(Clone, clap::Args)]
struct Run {
    /// Configuration file (TOML)
    #[arg(long)]
    config: Option<PathBuf>,
    /// For development: rules that allow everything, prefix herald-dev, loopback only
    #[arg(long)]
    dev: bool,
    /// NATS servers, separated by commas
    #[arg(long, value_delimiter = ',')]
    nats: Vec<String>,
    /// Address of the admin listener
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// How long a stopping router may take
    #[arg(long, value_parser = humantime)]
    drain: Option<Duration>,
}

fn humantime(text: &str) -> Result<Duration, String> {
    humantime_serde::re::humantime::parse_duration(text).map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.command {
        Some(Command::Config) => std::io::stdout()
            .write_all(config::DEFAULT.as_bytes())
            .map_err(Into::into),
        Some(Command::Check { config }) => return report(check(&config)),
        Some(Command::Drain(args)) => ask_to_drain(args),
        None => match configure(&args.run) {
            Ok(configured) => run(configured, args.run),
            Err(error) => return report(Err(error)),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("herald-router: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(outcome: Result<(), ConfigError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(cli::BAD_CONFIG)
        }
    }
}

fn check(path: &std::path::Path) -> Result<(), ConfigError> {
    RouterConfig::parse(&cli::read(Some(path))?, cli::env())?;
    Ok(())
}

/// File, environment, flags; then the rules of `--dev`.
fn configure(args: &Run) -> Result<Configured<RouterConfig>, ConfigError> {
    let text = cli::read(args.config.as_deref())?;
    let mut config = RouterConfig::parse(&text, cli::env())?;
    if !args.nats.is_empty() {
        config.nats.urls = args.nats.iter().cloned().map(Secret).collect();
    }
    if let Some(admin) = args.admin {
        config.admin.listen = admin;
    }
    if let Some(drain) = args.drain {
        config.drain = drain;
    }
    let mut faults = Faults::default();
    config.check(&mut faults);
    if args.dev {
        config.nats.prefix = "herald-dev".to_owned();
        config.admin.api_keys.push(ApiKeySettings {
            name: "dev".to_owned(),
            key: Secret(DEV_API_KEY.to_owned()),
        });
        config.policy = Policy {
            last_seen_kept: config.policy.last_seen_kept,
            ..Policy::open()
        };
        if !config.nats.is_loopback() {
            faults.add("nats.urls", "--dev allows only NATS servers on this machine's loopback");
        }
        if !config.admin.listen.ip().is_loopback() {
            faults.add("admin.listen", "--dev allows only loopback addresses");
        }
    }
    // Settings that flags decide are the same each time.
    let mut tree = config::load::tree(config::DEFAULT, &text, cli::env(), config::TOP);
    let by_flag = [
        ("nats.urls", !args.nats.is_empty()),
        ("admin.listen", args.admin.is_some()),
        ("drain", args.drain.is_some()),
    ];
    for (path, _) in by_flag.iter().filter(|(_, given)| *given) {
        config::changes::put(&mut tree, path, None);
    }
    Ok(Configured {
        config: faults.or(config)?,
        tree,
    })
}

#[tokio::main(flavor = "current_thread")]
async fn ask_to_drain(args: drain::Args) -> anyhow::Result<()> {
    Ok(drain::ask(args, ADMIN, &mut std::io::stdout()).await?)
}

#[tokio::main]
async fn run(configured: Configured<RouterConfig>, from: Run) -> anyhow::Result<()> {
    let Configured { config, tree } = configured;
    let levels = telemetry::start_logging(&config.logging)?;
    let mut signals = Signals::new()?;
    let hangups = Hangups::new()?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let figures = telemetry::start_metrics(
        &[metrics::node::METRICS, metrics::METRICS],
        (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        &stop,
        &tasks,
    )?;
    metrics::begin();

    let listener = http::bind(config.admin.listen).with_context(|| format!("binding {}", config.admin.listen))?;
    let admin_address = listener.local_addr()?;
    let tls = config.admin.tls.as_ref();
    let tls = tls
        .map(|settings| Tls::new(settings, "admin", metrics::tls()))
        .transpose()?;

    let node = config
        .node
        .clone()
        .unwrap_or_else(|| format!("rt-{:08x}", rand::random::<u32>()));
    let binary = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let export = telemetry::start_tracing(&config.telemetry, &node, binary)?;
    // The bus outlives the service: what is under way at a stop still needs it.
    let bus_stop = CancellationToken::new();
    let bus_tasks = TaskTracker::new();
    let bus = nats::bus(
        NatsConfig {
            urls: config.nats.urls(),
            access: config.nats.access(),
            prefix: config.nats.prefix.clone(),
            name: node.clone(),
            limits: config.log.limits(),
            events: (!config.events.kinds.is_empty()).then(|| config.events.limits()),
            provision: true,
        },
        bus_stop.clone(),
        &bus_tasks,
    )
    .await?;

    let (watched, end) = (bus.clone(), stop.clone());
    tasks.spawn(async move { end.run_until_cancelled(metrics::node::follow(&watched)).await });

    let names = Names::new(config.nats.prefix.clone());
    webhooks::start(&bus, &names, &node, &config.webhooks, id::now_ms(), &stop, &tasks)?;
    let events = Emitter::new(&node, config.events.kinds.iter().copied());
    let router = Router::new(bus, config.policy.clone(), names).with_events(events);
    // Outlives the service: what happened last is still told.
    let (emitting, teller, end) = (router.events().clone(), router.clone(), bus_stop.clone());
    bus_tasks.spawn(async move { end.run_until_cancelled(teller.events().run(teller.bus())).await });
    let readiness = service::start(router.clone(), &node, stop.clone(), &tasks);
    let left = tasks.clone();
    let drain = Arc::new(Drain::new(stop.clone(), config.drain, move || left.len()));
    let asked = drain.clone();
    let live = Live {
        router: router.clone(),
        tls: tls.clone(),
        levels,
    };
    let tell = tell_status(router.clone(), readiness.clone(), node.clone());
    let end = stop.clone();
    tasks.spawn(async move { end.run_until_cancelled(tell).await });
    let ready = move || {
        let draining = Condition::that("drain", !asked.status().draining, "draining");
        std::iter::once(draining).chain(readiness.conditions()).collect()
    };
    let admin_stop = CancellationToken::new();
    let admin_tasks = TaskTracker::new();
    let pulse = Arc::new(Pulse::default());
    let (beating, end) = (pulse.clone(), admin_stop.clone());
    admin_tasks.spawn(async move { end.run_until_cancelled(beating.run()).await });
    let admin = Arc::new(Operators {
        admin: Admin::new(Box::new(ready), pulse, figures),
        drain: drain.clone(),
        keys: config.admin.api_keys.iter().map(|key| key.key.clone()).collect(),
    });
    if let Some(tls) = tls.clone() {
        let end = admin_stop.clone();
        admin_tasks.spawn(async move { end.run_until_cancelled(tls.follow()).await });
    }
    admin_tasks.spawn(http::serve(
        listener,
        tls,
        admin,
        http::End::at_once(admin_stop.clone()),
        admin_tasks.clone(),
    ));
    writeln!(std::io::stdout(), "listening admin {admin_address}")?;
    tracing::info!(node, version = env!("CARGO_PKG_VERSION"), "router started");

    tokio::select! {
        () = signals.next() => {}
        () = drain.asked() => {}
        () = live.follow(hangups, tree, || configure(&from)) => {}
    }
    tracing::info!("draining");
    stop.cancel();
    tasks.close();
    tokio::select! {
        ended = tokio::time::timeout(config.drain, tasks.wait()) => if ended.is_err() {
            tracing::warn!("the drain time ended before all commands did");
        },
        () = signals.next() => tracing::warn!("asked to stop a second time: stopping at once"),
    }
    if tokio::time::timeout(GOODBYE, emitting.flushed()).await.is_err() {
        tracing::warn!("not all events could be published");
    }
    admin_stop.cancel();
    bus_stop.cancel();
    bus_tasks.close();
    if tokio::time::timeout(Duration::from_secs(2), bus_tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("the bus did not end in time");
    }
    export.end().await;
    Ok(())
}

/// Answers whoever asks how this node is, until dropped.
async fn tell_status(router: Router, readiness: Readiness, node: String) {
    let started = id::now_ms();
    let now = || NodeStatus {
        started,
        ..status::of(&readiness.conditions())
    };
    status::tell(router.bus(), router.names(), &node, now).await;
}
