//! The command line, and the configuration that comes of it.

use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use herald_router::{
    cli::{self, ConfigError},
    config::{Secret, TOP, changes, load},
    reload::Configured,
};

use crate::{
    accounts,
    auth::{Auth, signer, unix_now},
    config::{AuthSettings, DEFAULT, GatewayConfig},
};

#[derive(Parser)]
#[command(version, about = "Herald's gateway: pushes messages to connected clients")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Subcommand)]
pub enum Command {
    /// Print a token for a user
    Token(TokenArgs),
    /// Read a password, and print its hash for an account of the configuration
    Hash,
    /// Check a configuration: exit 0, or name each fault and exit 2
    Check {
        #[arg(long)]
        config: PathBuf,
    },
    /// Print the whole commented default configuration
    Config,
}

#[derive(clap::Args)]
pub struct TokenArgs {
    /// User id
    #[arg(long)]
    user: String,
    /// How long the token is good
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Groups that are joined on connect, separated by commas
    #[arg(long, value_delimiter = ',')]
    groups: Vec<String>,
    /// The user may send to everybody
    #[arg(long)]
    broadcast: bool,
    /// Sign with the development key
    #[arg(long, conflicts_with = "config", required_unless_present = "config")]
    dev: bool,
    /// Sign with the first secret of this configuration
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Clone, clap::Args)]
pub struct Run {
    /// Configuration file (TOML)
    #[arg(long)]
    config: Option<PathBuf>,
    /// For development: a known key, rules that allow everything, loopback only
    #[arg(long)]
    dev: bool,
    /// Address of the public listener; may repeat
    #[arg(long)]
    listen: Vec<SocketAddr>,
    /// Address of the admin listener
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// NATS servers, separated by commas; without any the router runs in this process
    #[arg(long, value_delimiter = ',')]
    nats: Vec<String>,
    /// Connections are closed spread over this time when stopping
    #[arg(long, value_parser = duration)]
    drain: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime_serde::re::humantime::parse_duration(text).map_err(|e| e.to_string())
}

/// File, environment, `--dev`, flags.
pub fn configure(args: Run) -> Result<Configured<GatewayConfig>, ConfigError> {
    let text = cli::read(args.config.as_deref())?;
    let (mut config, mut faults) = GatewayConfig::parse(&text, cli::env());
    let mut tree = load::tree(DEFAULT, &text, cli::env(), TOP);
    // Settings that flags decide are the same each time.
    let by_flag = [
        ("public.listen", !args.listen.is_empty()),
        ("admin.listen", args.admin.is_some()),
        ("nats.urls", !args.nats.is_empty()),
        ("drain", args.drain.is_some()),
    ];
    for (path, _) in by_flag.iter().filter(|(_, given)| *given) {
        changes::put(&mut tree, path, None);
    }
    if args.dev {
        config.develop();
    }
    if !args.listen.is_empty() {
        config.public.listen = args.listen;
    }
    if let Some(admin) = args.admin {
        config.admin.listen = admin;
    }
    if !args.nats.is_empty() {
        config.nats.urls = args.nats.into_iter().map(Secret).collect();
    }
    if let Some(drain) = args.drain {
        config.drain = drain;
    }
    config.check(&mut faults);
    Ok(Configured {
        config: faults.or(config)?,
        tree,
    })
}

/// The faults of a file, as `check` tells them.
pub fn check(path: &std::path::Path) -> Result<(), ConfigError> {
    let (config, mut faults) = GatewayConfig::parse(&cli::read(Some(path))?, cli::env());
    config.check(&mut faults);
    Ok(faults.or(())?)
}

#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("the password cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("the password is empty")]
    Empty,
    #[error("the password cannot be hashed: {0}")]
    Hashing(argon2::password_hash::Error),
}

/// From the terminal, unseen; or the first line of what is piped in.
pub fn hash() -> Result<String, HashError> {
    let password = if std::io::stdin().is_terminal() {
        rpassword::prompt_password("Password: ")?
    } else {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if password.is_empty() {
        return Err(HashError::Empty);
    }
    accounts::hash(&password).map_err(HashError::Hashing)
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Sign(#[from] signer::SignError),
}

pub fn token(args: TokenArgs) -> Result<String, TokenError> {
    let settings = match &args.config {
        Some(path) => auth_settings(path)?,
        None => {
            let mut config = GatewayConfig::default();
            config.develop();
            config.auth
        }
    };
    let issued = unix_now();
    let grant = signer::Grant {
        user: &args.user,
        account: None,
        groups: &args.groups,
        broadcast: args.broadcast,
        issued: issued * 1000,
        expires: issued + args.ttl.as_secs(),
        session: None,
    };
    let auth = Auth::new(&settings).map_err(ConfigError::from)?;
    Ok(auth.sign(&grant)?)
}

fn auth_settings(path: &std::path::Path) -> Result<AuthSettings, ConfigError> {
    let (config, mut faults) = GatewayConfig::parse(&cli::read(Some(path))?, cli::env());
    config.check(&mut faults);
    faults.or(config.auth).map_err(Into::into)
}
