//! `PrivacyService`.

use std::sync::Arc;

use augur_feature_store::{ErasureReceipt, OptOuts};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::convert::value::subject_from_wire;
use augur_proto::v1;
use augur_proto::v1::privacy_service_server::PrivacyService;
use tonic::{Request, Response, Status};

use super::blocking;
use crate::{App, Error};

#[derive(Debug)]
pub(super) struct Privacy {
    app: Arc<App>,
}

/// What an erasure leaves in the decision log.
const DECISIONS_STAY: &str = "records of past decisions stay as they were written, with the features under the pseudonym \
                              and the request as it was sent, for as long as the log is kept";

/// What an erasure leaves of a profile.
const OPT_OUTS_STAY: &str = "suppressed channels stay under the pseudonym, so that the person is not written to again; \
                             erase with `forget_opt_outs` to remove them, too";

impl Privacy {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl PrivacyService for Privacy {
    async fn erase_user(
        &self,
        request: Request<v1::EraseUserRequest>,
    ) -> Result<Response<v1::EraseUserResponse>, Status> {
        let request = request.into_inner();
        let subject = subject_from_wire(request.subject.as_ref(), "subject").map_err(Error::from)?;
        let user = self.app.user_key(subject);
        let opt_outs = if request.forget_opt_outs { OptOuts::Forgotten } else { OptOuts::Kept };
        let erase = move |app: &App| Ok(app.store().erase_user(user, app.clock().now(), opt_outs)?);
        let receipt = blocking(&self.app, erase).await?;
        Ok(Response::new(receipt_to_wire(&receipt)))
    }

    async fn readmit_user(
        &self,
        request: Request<v1::ReadmitUserRequest>,
    ) -> Result<Response<v1::ReadmitUserResponse>, Status> {
        let request = request.into_inner();
        let subject = subject_from_wire(request.subject.as_ref(), "subject").map_err(Error::from)?;
        let user = self.app.user_key(subject);
        let was_erased = blocking(&self.app, move |app| {
            let was_erased = app.store().erased_at(user)?.is_some();
            app.store().readmit_user(user)?;
            Ok(was_erased)
        })
        .await?;
        Ok(Response::new(v1::ReadmitUserResponse { was_erased }))
    }
}

fn receipt_to_wire(receipt: &ErasureReceipt) -> v1::EraseUserResponse {
    let erased = |store: &str, records| v1::ErasedStore {
        store: store.to_owned(),
        erased: true,
        records,
        note: String::new(),
    };
    let left = |store: &str, note: &str| v1::ErasedStore {
        store: store.to_owned(),
        erased: false,
        records: 0,
        note: note.to_owned(),
    };
    let kept = receipt.opt_outs_kept;
    let opt_outs = (kept > 0).then(|| left("opt_outs", &format!("{kept} {OPT_OUTS_STAY}")));
    let stores = vec![
        erased("features", receipt.states),
        erased("events", receipt.events),
        erased("dedup_marks", receipt.dedup_marks),
        erased("exposures", receipt.exposures),
        erased("profile", receipt.profiles),
        erased("quarantine", receipt.quarantined),
        erased("identity_links", receipt.links),
        left("decision_log", DECISIONS_STAY),
        left("backups", "copies made before keep what they held until you remove them"),
    ];
    let stores = stores.into_iter().chain(opt_outs).collect();
    v1::EraseUserResponse {
        user_key: receipt.user.to_string(),
        erased_at: Some(timestamp_to_wire(receipt.erased_at)),
        stores,
    }
}
