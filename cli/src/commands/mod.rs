//! One file per command: its arguments with their help, what it does, how it answers.
//!
//! Not here: anything that two commands share.

pub(crate) mod demo;
pub(crate) mod import;
pub(crate) mod loadtest;
pub(crate) mod models;
pub(crate) mod policy;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod train;

use crate::Error;

/// Runs asynchronous work to its end.
fn block_on<Output>(work: impl Future<Output = Result<Output, Error>>) -> Result<Output, Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?.block_on(work)
}
