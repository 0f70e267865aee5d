//! Links in the queues: what is put there for a change, and what calls wait for.
//!
//! Not here: what a change moves (`identity`), or events that ask for one (`writer`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use augur_domain::event::IdentityClaim;
use augur_domain::{Timestamp, UserKey};
use crossbeam_channel::{Receiver, Sender};

use super::lanes::{ChangeStep, Lanes};
use super::request::Request;
use super::turn::{self, Turn, Work};
use super::{Job, Shard, Writers};
use crate::identity::{Claimed, Identity, Operation, Routes};
use crate::{Error, LinkOutcome};

/// Who waits for a change; told how many events it moved.
pub(super) type Tell = Sender<Result<u64, Error>>;

impl ChangeStep {
    pub(super) const fn is_perform(&self) -> bool {
        matches!(self, Self::Perform { .. })
    }

    /// Dropped undone, a change counts as failed.
    pub(super) fn into_work(self, identity: &Arc<Identity>, tell: Option<Tell>) -> Work {
        match self {
            Self::Meet { here, done } => {
                let meet = move |_: &mut Turn<'_>| {
                    // An error says that the change was let go; then there is nothing to wait for.
                    let _ = here.send(()).map(|()| done.recv());
                    Ok(())
                };
                turn::work(meet, |_| ())
            }
            Self::Perform { operation, meet } => {
                let (identity, performer) = (Arc::clone(identity), Arc::clone(identity));
                let for_performer = operation.clone();
                let (here, done) = meet.unzip();
                let work = move |turn: &mut Turn<'_>| {
                    if here.is_some_and(|here| here.recv().is_err()) {
                        return Err(Error::Closed);
                    }
                    performer.perform(&for_performer, turn)
                };
                turn::work(work, move |moved| {
                    settle(&identity, &operation, &moved);
                    if let Some(tell) = tell {
                        // Nobody may be waiting any more.
                        drop(tell.send(moved));
                    }
                    // Only now the other writer goes on.
                    drop(done);
                })
            }
        }
    }
}

fn settle(identity: &Identity, operation: &Operation, moved: &Result<u64, Error>) {
    if let Err(error) = moved {
        identity.tally.failed.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, "a change of links was not stored");
    }
    identity.settle(operation, moved.is_ok());
}

impl Writers {
    /// Links an id to the person of `user` and waits until that is stored.
    pub(crate) fn link(
        &self,
        user: UserKey,
        claim: IdentityClaim,
        since: Timestamp,
    ) -> Result<LinkOutcome, Error> {
        let shards = self.shards.read();
        let open = shards.as_ref().ok_or(Error::Closed)?;
        let mut routing = self.identity.routing.write();
        let operation = match self.identity.claim(&mut Routes::Changing(&mut routing), user, claim, since)? {
            Claimed::Settled(_) => return Ok(LinkOutcome::AlreadyLinked),
            Claimed::Kept => return Ok(LinkOutcome::Kept),
            Claimed::Refused(refused) => return Err(Error::LinkRefused(refused)),
            Claimed::Begun(operation) => operation,
        };
        let (told, not_taken) = self.carry_out(open, operation);
        drop((routing, shards, not_taken));
        let events = told.recv().map_err(|_| Error::Closed)??;
        Ok(LinkOutcome::Linked { events })
    }

    /// Undoes the link of an id and waits until that is stored. `None` when there is none.
    pub(crate) fn unlink(&self, id: UserKey) -> Result<Option<u64>, Error> {
        loop {
            let shards = self.shards.read();
            let open = shards.as_ref().ok_or(Error::Closed)?;
            let mut routing = self.identity.routing.write();
            let operation = match self.identity.unclaim(&mut routing, id)? {
                Some(Claimed::Settled(_) | Claimed::Kept) => return Ok(None),
                Some(Claimed::Refused(refused)) => return Err(Error::LinkRefused(refused)),
                Some(Claimed::Begun(operation)) => operation,
                None => {
                    // Other changes of the person are under way: they are in the queues.
                    drop((routing, shards));
                    self.pass()?;
                    continue;
                }
            };
            let (told, not_taken) = self.carry_out(open, operation);
            drop((routing, shards, not_taken));
            return told.recv().map_err(|_| Error::Closed)?.map(Some);
        }
    }

    /// Puts a change into the queues; its result can be waited for, without any lock.
    fn carry_out(&self, shards: &[Shard], operation: Operation) -> (Receiver<Result<u64, Error>>, Vec<Job>) {
        let (tell, told) = crossbeam_channel::bounded(1);
        let mut lanes = Lanes::new(shards.len());
        lanes.change(operation);
        let nobody = Request::new(Vec::new(), 0, Box::new(|_| ()));
        let not_taken = self.send(shards, lanes, &nobody, Some(tell));
        (told, not_taken)
    }
}
