//! What the command lines of both binaries share.

use std::path::{Path, PathBuf};

use crate::config::Faults;

/// Exit code for a configuration that cannot be used.
pub const BAD_CONFIG: u8 = 2;

/// Why a configuration could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Faults(#[from] Faults),
}

/// The file's text, or the empty text where none is named: all defaults.
pub fn read(path: Option<&Path>) -> Result<String, ConfigError> {
    let Some(path) = path else {
        return Ok(String::new());
    };
    std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    })
}

/// The environment, less what is no text.
pub fn env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
