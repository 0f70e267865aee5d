//! Room that decisions reuse.
//!
//! Not here: what is put into it. Nothing in it outlives a decision: each begins by emptying what it uses.

use augur_domain::Reason;
use augur_domain::decision::Rung;

use crate::round::Room;
use crate::row::SegmentOutcome;

/// Room for one decision at a time. Kept from one decision to the next, it spares [`decide_into`](crate::decide_into) every
/// allocation once it has grown to what a policy needs; it holds no more than one decision's worth.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Where the request's values for the point's declared context lie.
    pub(crate) context: Vec<Option<u16>>,
    /// Per segment of the point.
    pub(crate) segments: Vec<SegmentOutcome>,
    /// The step of the ladder that each score stands on.
    pub(crate) score_rungs: Vec<Rung>,
    /// The user's arm, per experiment of the point.
    pub(crate) arms: Vec<Option<usize>>,
    /// Conditions of experiments without an answer.
    pub(crate) unsorted: Vec<Reason>,
    /// Questions without an answer.
    pub(crate) unanswered: Vec<Reason>,
    pub(crate) room: Room,
}
