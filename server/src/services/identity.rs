//! `IdentityService`.

use std::sync::Arc;

use augur_domain::event::{ClaimedBy, IdentityClaim};
use augur_domain::ids::Subject;
use augur_feature_store::{Link, LinkOutcome};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::convert::value::subject_from_wire;
use augur_proto::v1;
use augur_proto::v1::identity_service_server::IdentityService;
use tonic::{Request, Response, Status};

use super::blocking;
use crate::{App, Error};

#[derive(Debug)]
pub(super) struct Identity {
    app: Arc<App>,
}

impl Identity {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl IdentityService for Identity {
    async fn describe_person(
        &self,
        request: Request<v1::DescribePersonRequest>,
    ) -> Result<Response<v1::DescribePersonResponse>, Status> {
        let request = request.into_inner();
        let subject = subject_from_wire(request.subject.as_ref(), "subject").map_err(Error::from)?;
        let id = self.app.user_key(subject);
        let person = blocking(&self.app, move |app| Ok(app.store().person(id)?)).await?;
        Ok(Response::new(v1::DescribePersonResponse {
            id_key: id.to_string(),
            person_key: person.key.to_string(),
            links: person.links.iter().map(link_to_wire).collect(),
        }))
    }

    async fn link_id(
        &self,
        request: Request<v1::LinkIdRequest>,
    ) -> Result<Response<v1::LinkIdResponse>, Status> {
        let request = request.into_inner();
        let user = v1::Subject { id: Some(v1::subject::Id::UserId(request.user_id)) };
        let user = subject_from_wire(Some(&user), "user_id").map_err(Error::from)?;
        let id = subject_from_wire(request.id.as_ref(), "id").map_err(Error::from)?;
        let user = self.app.user_key(user);
        let claim = IdentityClaim { id: self.app.user_key(id), by: ClaimedBy::Operator };
        let made = blocking(&self.app, move |app| Ok(app.store().link(user, claim, app.clock().now())?));
        let answer = match made.await? {
            LinkOutcome::Linked { events } => v1::LinkIdResponse { was_linked: false, moved_events: events },
            LinkOutcome::AlreadyLinked => v1::LinkIdResponse { was_linked: true, moved_events: 0 },
            // Only for devices, and where one of the two was erased.
            LinkOutcome::Kept => {
                let problem = "the user, or the id to be linked, was erased";
                return Err(Error::field("user_id", problem, "ids that were not, or were readmitted").into());
            }
        };
        Ok(Response::new(answer))
    }

    async fn unlink_id(
        &self,
        request: Request<v1::UnlinkIdRequest>,
    ) -> Result<Response<v1::UnlinkIdResponse>, Status> {
        let request = request.into_inner();
        let subject: Subject<'_> = subject_from_wire(request.id.as_ref(), "id").map_err(Error::from)?;
        let id = self.app.user_key(subject);
        let moved = blocking(&self.app, move |app| Ok(app.store().unlink(id)?)).await?;
        let (was_linked, moved_events) = (moved.is_some(), moved.unwrap_or_default());
        Ok(Response::new(v1::UnlinkIdResponse { was_linked, moved_events }))
    }
}

fn link_to_wire(link: &Link) -> v1::IdentityLink {
    let by = match link.by {
        ClaimedBy::Device => v1::LinkedBy::Device,
        ClaimedBy::Alias => v1::LinkedBy::Alias,
        ClaimedBy::Operator => v1::LinkedBy::Operator,
    };
    v1::IdentityLink {
        id_key: link.id.to_string(),
        linked_to_key: link.linked_to.to_string(),
        since: Some(timestamp_to_wire(link.since)),
        by: by.into(),
    }
}
