//! Where events are worked on: a running server, or a data directory that nobody else uses.
//!
//! Not here: what is done there.

use std::path::PathBuf;

use augur_loadtest::Client;
use augur_server::Running;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::data::Directory;

#[derive(Debug, Clone, Args)]
#[group(id = "place", required = true, multiple = false)]
pub(super) struct Place {
    /// A running server.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A data directory that no server is using.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Place {
    /// Does `work` through the API: over a directory, by a server of its own for as long as it lasts.
    pub(super) fn with_client<Output>(
        &self,
        work: impl AsyncFnOnce(Client) -> Result<Output, Error>,
    ) -> Result<Output, Error> {
        super::super::block_on(async {
            let Some(data) = &self.data else {
                let endpoint = self.endpoint.as_deref().unwrap_or_default();
                return work(Client::connect(endpoint, 1).await?).await;
            };
            let mut config = Directory::open(data)?.config()?;
            config.server.listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
            config.server.http_listen = None;
            let over = async |running: &Running| {
                work(Client::connect(&format!("http://{}", running.address), 1).await?).await
            };
            super::super::serving(config, CancellationToken::new(), over).await
        })
    }
}
