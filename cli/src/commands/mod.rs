//! One file per command: its arguments with their help, what it does, how it answers.
//!
//! Not here: what is shared beyond two small helpers below: `data`, `import`, `output`, `progress`.

pub(crate) mod breaker;
pub(crate) mod config;
pub(crate) mod decide;
pub(crate) mod decide_all;
pub(crate) mod decisions;
pub(crate) mod demo;
pub(crate) mod events;
pub(crate) mod experiment;
pub(crate) mod features;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod loadtest;
pub(crate) mod log;
pub(crate) mod models;
pub(crate) mod ope;
pub(crate) mod policy;
pub(crate) mod profiles;
pub(crate) mod replay;
pub(crate) mod segments;
pub(crate) mod serve;
pub(crate) mod shadow;
pub(crate) mod tasks;
pub(crate) mod train;
pub(crate) mod user;

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_loadtest::domain::Value;
use augur_loadtest::domain::value::Finite;
use augur_server::{Config, Running};
use tokio_util::sync::CancellationToken;

use crate::Error;

/// Runs asynchronous work to its end.
fn block_on<Output>(work: impl Future<Output = Result<Output, Error>>) -> Result<Output, Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?.block_on(work)
}

/// Serves while `work` lasts, then shuts down, however the work came out: a server left behind at the end of the
/// process would still be writing while the process is taken apart. The first error is the answer.
async fn serving<Output>(
    config: Config,
    shutdown: CancellationToken,
    work: impl AsyncFnOnce(&Running) -> Result<Output, Error>,
) -> Result<Output, Error> {
    let running = augur_server::serve(config, shutdown.clone()).await?;
    let done = work(&running).await;
    shutdown.cancel();
    let ended = running.finished().await;
    let done = done?;
    ended?;
    Ok(done)
}

/// Request-time values as typed, ordered by name: a number, true or false, or else text.
fn context(pairs: &[String]) -> Result<BTreeMap<Arc<str>, Value>, Error> {
    pairs
        .iter()
        .map(|pair| {
            let (name, text) = pair.split_once('=').ok_or_else(|| Error::Argument {
                argument: "--context",
                found: pair.clone(),
                expected: "NAME=VALUE, e.g. `cart_value=59.9`".to_owned(),
            })?;
            let number = text.parse().ok().and_then(Finite::new).map(Value::Number);
            let value = number.or_else(|| text.parse().ok().map(Value::Boolean));
            Ok((name.into(), value.unwrap_or_else(|| Value::Text(text.into()))))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_values_have_the_type_they_look_like() {
        let values: Vec<_> =
            context(&["a=1.5".into(), "b=true".into(), "c=x=y".into()]).unwrap().into_values().collect();
        assert_eq!(
            values,
            [Value::Number(Finite::new(1.5).unwrap()), Value::Boolean(true), Value::Text("x=y".into())]
        );
        assert!(context(&["cart".into()]).unwrap_err().to_string().contains("NAME=VALUE"));
    }
}
