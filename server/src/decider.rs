//! Who decides: the pure function, unless a test puts something slow or broken in its place.
//!
//! Not here: the function (`augur_decision`), or what is done about one that is slow or broken (`decide`, `live_shadow`).

use augur_decision::PolicySnapshot;
use augur_domain::Decision;
use augur_domain::decision::DecisionInputs;

use crate::room;

/// Decides from inputs. What implements it may be slow, may panic and may answer nonsense: whoever asks is ready for it.
pub trait Decider: Send + Sync + 'static {
    /// The decision that is answered.
    fn decide(&self, policy: &PolicySnapshot, inputs: &DecisionInputs) -> Decision {
        room::decide(policy, inputs)
    }

    /// What `candidate` of live shadow makes of a decision that was answered.
    fn shadow(&self, _candidate: &str, policy: &PolicySnapshot, inputs: &DecisionInputs) -> Decision {
        augur_decision::decide(policy, inputs)
    }
}

/// The pure function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pure;

impl Decider for Pure {}
