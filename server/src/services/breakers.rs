//! `BreakerService`.

use std::sync::Arc;

use augur_proto::v1;
use augur_proto::v1::breaker_service_server::BreakerService;
use tonic::{Request, Response, Status};

use crate::breaker::{Mode, Standing, State};
use crate::{App, Error};

#[derive(Debug)]
pub(super) struct Breakers {
    app: Arc<App>,
}

impl Breakers {
    pub(super) const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl BreakerService for Breakers {
    async fn list_breakers(
        &self,
        _request: Request<v1::ListBreakersRequest>,
    ) -> Result<Response<v1::ListBreakersResponse>, Status> {
        let breakers = self.app.breakers().into_iter().map(to_wire).collect();
        Ok(Response::new(v1::ListBreakersResponse { breakers }))
    }

    async fn force_breaker(
        &self,
        request: Request<v1::ForceBreakerRequest>,
    ) -> Result<Response<v1::ForceBreakerResponse>, Status> {
        let request = request.into_inner();
        let mode = match request.state() {
            v1::BreakerState::ForcedOpen => Mode::ForcedOpen,
            v1::BreakerState::ForcedClosed => Mode::ForcedClosed,
            other => {
                let found = other.as_str_name().to_owned();
                let expected = "BREAKER_STATE_FORCED_OPEN or BREAKER_STATE_FORCED_CLOSED";
                return Err(Error::field("state", found, expected).into());
            }
        };
        let standing = self.app.force_breaker(&request.name, Some(mode))?;
        Ok(Response::new(v1::ForceBreakerResponse { breaker: Some(to_wire(standing)) }))
    }

    async fn release_breaker(
        &self,
        request: Request<v1::ReleaseBreakerRequest>,
    ) -> Result<Response<v1::ReleaseBreakerResponse>, Status> {
        let standing = self.app.force_breaker(&request.into_inner().name, None)?;
        Ok(Response::new(v1::ReleaseBreakerResponse { breaker: Some(to_wire(standing)) }))
    }
}

fn to_wire(standing: Standing) -> v1::Breaker {
    let state = match standing.state {
        State::Closed => v1::BreakerState::Closed,
        State::HalfOpen => v1::BreakerState::HalfOpen,
        State::Open => v1::BreakerState::Open,
        State::ForcedOpen => v1::BreakerState::ForcedOpen,
        State::ForcedClosed => v1::BreakerState::ForcedClosed,
        State::MetricsOnly => v1::BreakerState::MetricsOnly,
    };
    v1::Breaker {
        name: standing.name.to_string(),
        state: state.into(),
        calls: standing.tally.calls,
        failed: standing.tally.failed,
        slow: standing.tally.slow,
        refused: standing.refused,
        transitions: standing.transitions,
        open_for: standing.open_for.and_then(|open_for| open_for.try_into().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::Tally;

    #[test]
    fn words_are_those_of_the_wire() {
        for state in State::ALL {
            let name = "features".into();
            let standing =
                Standing { name, state, tally: Tally::default(), refused: 0, transitions: 0, open_for: None };
            let wire = to_wire(standing).state();
            assert_eq!(wire.as_str_name(), format!("BREAKER_STATE_{}", state.as_str()));
        }
    }
}
