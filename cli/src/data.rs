//! A data directory as the commands name it: `--data DIR` holds `augur.toml`, the definitions, and what is stored.
//!
//! ```text
//! DIR/augur.toml      configuration, with `[data] dir = "data"` beside it
//! DIR/features.toml   what is computed per user
//! DIR/policy.toml     what is decided
//! DIR/policy_tests.toml  what must be decided, given what
//! DIR/events.toml     which events may come
//! DIR/tasks.toml      what models are trained for
//! DIR/data/           everything stored
//! ```
//! Not here: what the files mean, or opening what is stored (`augur_server::App`).

use std::fs;
use std::path::{Path, PathBuf};

use augur_server::Config;

use crate::Error;

/// Definitions to begin with: those of a shop.
const SHIPPED: [(&str, &str); 6] = [
    ("augur.toml", augur_server::config::SHIPPED),
    ("features.toml", include_str!("../../config/features.toml")),
    ("policy.toml", include_str!("../../config/policy.toml")),
    ("policy_tests.toml", include_str!("../../config/policy_tests.toml")),
    ("events.toml", include_str!("../../config/events.toml")),
    ("tasks.toml", include_str!("../../config/tasks.toml")),
];

/// A directory with a configuration in it.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// A directory that must be there.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let directory = Self { path: path.to_owned() };
        if directory.config_file().is_file() {
            Ok(directory)
        } else {
            Err(Error::NoData { path: path.to_owned() })
        }
    }

    /// The same, made with a shop's definitions where files are missing. Existing files stay as they are.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(Error::file("create", path))?;
        for (name, text) in SHIPPED {
            let file = path.join(name);
            if !file.exists() {
                fs::write(&file, text).map_err(Error::file("write", &file))?;
            }
        }
        Self::open(path)
    }

    /// The configuration's file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.path.join("augur.toml")
    }

    /// The configuration, read and checked.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        Ok(Config::load(Some(&self.config_file()))?)
    }
}
