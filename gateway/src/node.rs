//! One gateway process from start to end: bus, router if it is inside, listeners, drain.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use herald_proto::{cluster::NodeStatus, id, subject::Names};
use herald_router::{
    admin::Admin,
    bus::{Bus, memory, nats},
    cli::ConfigError,
    core::Router,
    drain::Drain,
    events::Emitter,
    health::{Condition, Pulse, Ready},
    http,
    metrics::node as node_metrics,
    reload::Configured,
    service,
    service::Readiness,
    shutdown::{Hangups, Signals},
    status, telemetry, webhooks,
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    api::{Api, Keys},
    config::GatewayConfig,
    gateway::Gateway,
    metrics,
    reload::Live,
    server::Public,
    tls::Certificates,
};

/// After the window, HTTP requests that are under way get this long to be answered: a backend has ten seconds, unless
/// something else is said. Connections take their close frames within two.
const ANSWERS: Duration = Duration::from_secs(15);
/// What remains beside them.
const GOODBYE: Duration = Duration::from_secs(5);
/// In its place after a second signal.
const AT_ONCE: Duration = Duration::from_millis(200);
/// The public listeners stay open at least so long, or as long as the window if that is less: balancers go on to send
/// clients until they have seen that the node is not ready, and 503 tells them where a closed port would not.
const LISTEN_ON: Duration = Duration::from_secs(5);

/// Runs until a signal asks for the end. `again` reads the configuration anew.
pub async fn run(
    configured: Configured<GatewayConfig>,
    again: impl Fn() -> Result<Configured<GatewayConfig>, ConfigError> + Send + 'static,
) -> anyhow::Result<()> {
    let Configured { config, tree } = configured;
    let levels = telemetry::start_logging(&config.logging)?;
    let mut signals = Signals::new()?;
    // Outlives all else: commands under way at a stop still need the bus.
    let background = CancellationToken::new();
    let tasks = TaskTracker::new();
    let figures = telemetry::start_metrics(
        &[node_metrics::METRICS, herald_router::metrics::METRICS, metrics::METRICS],
        (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        &background,
        &tasks,
    )?;

    let public = bind_all(&config.public.listen)?;
    let certificates = Arc::new(Certificates::new(&config)?);
    let admin = http::bind(config.admin.listen).with_context(|| format!("binding {}", config.admin.listen))?;

    let node = config
        .node
        .clone()
        .unwrap_or_else(|| format!("gw-{:08x}", rand::random::<u32>()));
    let binary = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let export = telemetry::start_tracing(&config.telemetry, &node, binary)?;
    let bus = bus(&config, &node, &background, &tasks).await?;
    let (router, inside) = embedded(&config, &node, &bus, &background, &tasks)?.unzip();

    let stop = CancellationToken::new();
    let gateway = Gateway::new(&config, node.clone(), &bus, stop.clone())?;
    let work = gateway.clone();
    let end = background.clone();
    tasks.spawn(async move {
        end.run_until_cancelled(work.run()).await;
    });
    let (watched, end) = (bus.clone(), background.clone());
    tasks.spawn(async move { end.run_until_cancelled(node_metrics::follow(&watched)).await });
    let api_keys = Keys::new(&config.admin.api_keys);
    let live = Live {
        gateway: gateway.clone(),
        certificates: certificates.clone(),
        api_keys: api_keys.clone(),
        levels: levels.clone(),
        router,
    };
    let (hangups, end) = (Hangups::new()?, background.clone());
    tasks.spawn(async move {
        let reload = live.follow(hangups, tree, again);
        end.run_until_cancelled(async { tokio::join!(reload, live.certificates.follow(), live.levels.run()) })
            .await;
    });

    let mut out = std::io::stdout();
    let public_end = http::End {
        closing: stop.clone(),
        closed: CancellationToken::new(),
    };
    let draining = gateway.clone();
    let asked = Arc::new(Drain::new(stop.clone(), config.drain, move || {
        draining.open_connections()
    }));
    let ready: Arc<Ready> = Arc::new(readiness(bus.clone(), gateway.clone(), inside, asked.clone()));
    tasks.spawn(tell_status(gateway.clone(), ready.clone(), background.clone()));
    let pulse = Arc::new(Pulse::default());
    let (beating, end) = (pulse.clone(), background.clone());
    tasks.spawn(async move { end.run_until_cancelled(beating.run()).await });
    let api = Api::new(
        gateway.clone(),
        Admin::new(Box::new(move || ready()), pulse, figures),
        asked.clone(),
        api_keys,
        levels,
    );
    for (listener, address) in public.into_iter().zip(&config.public.listen) {
        writeln!(out, "listening public {}", listener.local_addr()?)?;
        let handler = Arc::new(Public::new(gateway.clone(), *address));
        let tls = certificates.public.clone();
        tasks.spawn(http::serve(
            listener,
            tls,
            handler,
            public_end.clone(),
            gateway.tasks.clone(),
        ));
    }
    writeln!(out, "listening admin {}", admin.local_addr()?)?;
    let tls = certificates.admin.clone();
    tasks.spawn(http::serve(
        admin,
        tls,
        Arc::new(api),
        http::End::at_once(background.clone()),
        tasks.clone(),
    ));
    info!(
        node,
        version = env!("CARGO_PKG_VERSION"),
        embedded = config.nats.urls.is_empty(),
        "gateway started"
    );

    let (window, ended) = tokio::select! {
        () = signals.next() => (config.drain, Ok(())),
        () = asked.asked() => (config.drain, Ok(())),
        // Where it connects again its clients find the other one, perhaps: no reason to wait.
        taken = gateway.presence.name_taken() => (Duration::ZERO, Err(taken.into())),
    };
    let patience = tokio::select! {
        () = drain(&gateway, window, &public_end) => GOODBYE,
        () = signals.next() => {
            warn!("asked to stop a second time: stopping at once");
            AT_ONCE
        }
    };
    background.cancel();
    tasks.close();
    if tokio::time::timeout(patience, tasks.wait()).await.is_err() {
        warn!("not all work ended in time");
    }
    export.end().await;
    ended
}

fn bind_all(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let bind = |address: &SocketAddr| http::bind(*address).with_context(|| format!("binding {address}"));
    addresses.iter().map(bind).collect()
}

async fn bus(
    config: &GatewayConfig,
    node: &str,
    background: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<Bus> {
    if config.nats.urls.is_empty() {
        let names = Names::new(config.nats.prefix.clone());
        return Ok(memory::bus_with(config.log.limits(), config.events.limits(), names));
    }
    let settings = nats::NatsConfig {
        urls: config.nats.urls(),
        access: config.nats.access(),
        prefix: config.nats.prefix.clone(),
        name: node.to_owned(),
        limits: config.log.limits(),
        events: None,
        provision: false,
    };
    Ok(nats::bus(settings, background.clone(), tasks).await?)
}

/// Without a NATS the router runs here.
fn embedded(
    config: &GatewayConfig,
    node: &str,
    bus: &Bus,
    background: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<Option<(Router, Readiness)>> {
    if !config.nats.urls.is_empty() {
        return Ok(None);
    }
    let names = Names::new(config.nats.prefix.clone());
    webhooks::start(bus, &names, node, &config.webhooks, id::now_ms(), background, tasks)?;
    let events = Emitter::new(node, config.events.kinds.iter().copied());
    let router = Router::new(bus.clone(), config.router.clone(), names).with_events(events);
    let (teller, end) = (router.clone(), background.clone());
    tasks.spawn(async move { end.run_until_cancelled(teller.events().run(teller.bus())).await });
    let readiness = service::start(router.clone(), node, background.clone(), tasks);
    Ok(Some((router, readiness)))
}

/// What must hold for clients to be sent here.
fn readiness(bus: Bus, gateway: Arc<Gateway>, inside: Option<Readiness>, drain: Arc<Drain>) -> Ready {
    Box::new(move || {
        let known = gateway.revoked.is_known();
        let mut conditions = vec![
            Condition::that("drain", !drain.status().draining, "draining"),
            Condition::new("bus", bus.check()),
            Condition::new("router", gateway.probe.check()),
            Condition::new("canary", gateway.canary.check()),
            Condition::that("revocations", known, "revoked tokens are not known yet"),
            Condition::that(
                "lease",
                gateway.presence.is_told(),
                "the node's lease does not stand yet",
            ),
            Condition::that("log", gateway.hub.keeps_up(), "behind the log"),
        ];
        if let Some(router) = &inside {
            let own = router.conditions().into_iter();
            conditions.extend(own.filter(|own| matches!(own.name, "tables" | "service")));
        }
        conditions
    })
}

async fn tell_status(gateway: Arc<Gateway>, ready: Arc<Ready>, end: CancellationToken) {
    let started = id::now_ms();
    let now = || NodeStatus {
        started,
        connections: u32::try_from(gateway.open_connections()).unwrap_or(u32::MAX),
        ..status::of(&ready())
    };
    let tell = status::tell(gateway.bus(), gateway.names(), &gateway.node, now);
    end.run_until_cancelled(tell).await;
}

/// Not ready, no new connections, the others closed one by one; then what is under way may end.
async fn drain(gateway: &Arc<Gateway>, window: Duration, end: &http::End) {
    info!(connections = gateway.open_connections(), ?window, "draining");
    end.closing.cancel();
    tokio::join!(gateway.drain(window), tokio::time::sleep(window.min(LISTEN_ON)));
    end.closed.cancel();
    gateway.tasks.close();
    if tokio::time::timeout(ANSWERS, gateway.tasks.wait()).await.is_err() {
        warn!("not all requests were answered in time");
    }
    if tokio::time::timeout(GOODBYE, gateway.events.flushed()).await.is_err() {
        warn!("not all events could be published");
    }
    gateway.keep_cursors().await;
    gateway.presence.leave().await;
}
