//! The event log of a data directory, read beside whoever writes it: what a recomputed replay asks, and an export that marks erased
//! users.
//!
//! Not here: computing anything from it (`augur_feature_store::Recomputer`).

use std::path::Path;

use augur_domain::UserKey;
use augur_feature_store::Config;
use augur_feature_store::store::{Read, RocksStore};

use crate::Error;
use crate::files::Layout;

/// What of the store is cached while its event log is read from front to back.
const CACHE_BYTES: usize = 16 << 20;

/// The store in the data directory `stored` as it is now. Nothing is changed; a server may be using the directory, and what
/// comes after this call is not seen.
///
/// # Errors
/// [`Error::Store`] when there is no store, a later version wrote it, or it is damaged.
pub fn event_history(stored: &Path) -> Result<impl Read + Send + Sync + use<>, Error> {
    let config = Config { block_cache_bytes: CACHE_BYTES, ..Config::new(Layout::new(stored).store()) };
    Ok(RocksStore::open_read_only(&config)?)
}

/// Whether the user was erased, by the tombstone that is left.
///
/// # Errors
/// [`Error::Store`].
pub fn is_erased(history: &impl Read, user: UserKey) -> Result<bool, Error> {
    Ok(history.tombstone(user)?.is_some())
}
