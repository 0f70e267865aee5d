//! Who is held out and who is in which arm: the part of a policy that sorts users, and the sorting.
//!
//! Not here: how it is read (`file`), the hash itself (`augur_domain::assignment`), or what a decision does with an
//! arm (`decide`).

use std::sync::Arc;

use augur_domain::assignment::{BUCKETS, Sorter};
use augur_domain::decision::Assignment;
use augur_domain::{Reason, ReasonCode, Timestamp, UserKey};

use crate::question::Question;
use crate::row::DecisionRow;
use crate::rule::Validity;
use crate::snapshot::{Point, PolicySnapshot};

/// What expressions read as an experiment's arm when the user is in none.
pub(crate) const NO_ARM: &str = "none";

/// Everything of a policy that sorts users.
#[derive(Debug, Default)]
pub(crate) struct Experiments {
    pub(crate) holdouts: Vec<Holdout>,
    pub(crate) experiments: Vec<Experiment>,
}

/// Users who are given the default action only.
#[derive(Debug)]
pub(crate) struct Holdout {
    pub(crate) name: Arc<str>,
    pub(crate) sorter: Sorter,
    /// Buckets below it are held out.
    pub(crate) below: u32,
    pub(crate) validity: Validity,
    /// [`HELD_OUT`] and [`REACHED`], shared by all answers.
    pub(crate) arms: [Arc<str>; 2],
}

/// Users sorted into arms.
#[derive(Debug)]
pub(crate) struct Experiment {
    pub(crate) name: Arc<str>,
    /// The layer's, or its own if it stands in none.
    pub(crate) sorter: Sorter,
    /// Buckets from the first to before the second.
    pub(crate) ranges: Vec<(u32, u32)>,
    pub(crate) arms: Vec<Arm>,
    pub(crate) validity: Validity,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) has_condition: bool,
    /// The slot of the feature whose value from before is taken off in reports.
    pub(crate) pre: Option<usize>,
}

/// One arm.
#[derive(Debug)]
pub(crate) struct Arm {
    pub(crate) name: Arc<str>,
    sorter: Sorter,
    weight: f64,
    /// `experiment: arm`
    pub(crate) words: Arc<str>,
}

impl Arm {
    pub(crate) fn new(experiment: &str, salt: &str, name: &str, weight: f64) -> Self {
        Self {
            sorter: Sorter::of_arm(salt, name),
            weight,
            words: format!("{experiment}: {name}").into(),
            name: name.into(),
        }
    }
}

impl Holdout {
    fn holds_out(&self, user: UserKey) -> bool {
        self.sorter.bucket(user) < self.below
    }

    fn assignment(&self, held_out: bool, enrolled: bool) -> Assignment {
        let arm = Arc::clone(self.arm(held_out));
        Assignment { experiment: Arc::clone(&self.name), arm, enrolled }
    }

    fn arm(&self, held_out: bool) -> &Arc<str> {
        let [held, treated] = &self.arms;
        if held_out { held } else { treated }
    }
}

/// The arm of a holdout that is given the default action only.
pub(crate) const HELD_OUT: &str = "held_out";
/// The other arm of a holdout.
pub(crate) const REACHED: &str = "reached";

impl Experiment {
    fn takes(&self, bucket: u32) -> bool {
        self.ranges.iter().any(|(first, end)| (*first..*end).contains(&bucket))
    }

    /// The nearest arm, the first declared among equals; `None` only without arms of any weight.
    fn arm_of(&self, user: UserKey) -> Option<usize> {
        let distances = self.arms.iter().map(|arm| arm.sorter.distance(user, arm.weight)).enumerate();
        let nearest = distances.reduce(|nearest, other| if other.1 < nearest.1 { other } else { nearest });
        nearest.filter(|(_, distance)| distance.is_finite()).map(|(index, _)| index)
    }
}

/// An experiment as it holds at one decision point.
#[derive(Debug)]
pub(crate) struct LocalExperiment {
    /// Index into [`Experiments::experiments`].
    pub(crate) experiment: usize,
    /// `None`: everybody is eligible.
    pub(crate) when: Option<Arc<Question>>,
    /// By arm.
    pub(crate) changes: Vec<ArmChanges>,
    /// Whether an expression of the point reads the arm.
    pub(crate) is_read: bool,
}

/// What an arm changes at one decision point.
#[derive(Debug, Default)]
pub(crate) struct ArmChanges {
    /// By candidate.
    pub(crate) payloads: Vec<(usize, ArmPayload)>,
    /// By candidate.
    pub(crate) factors: Vec<(usize, f64)>,
}

/// What an arm gives in place of an action's payload.
#[derive(Debug)]
pub(crate) struct ArmPayload {
    pub(crate) json: Arc<str>,
    /// Its keys with their JSON texts, in order; empty if it is no table.
    pub(crate) fields: Box<[(Box<str>, Box<str>)]>,
}

/// How one user is sorted at one decision point.
#[derive(Debug, Default)]
pub(crate) struct Sorted<'p> {
    /// The first holdout that holds the user out.
    pub(crate) held_out: Option<&'p Holdout>,
    /// By experiment of the point; empty when there are none.
    pub(crate) arms: Vec<Option<usize>>,
    pub(crate) assignments: Vec<Assignment>,
    /// Conditions without an answer.
    pub(crate) unanswered: Vec<Reason>,
}

/// Sorts the user of `row` for its point. Whoever is held out is in no experiment.
pub(crate) fn sort<'p>(row: &DecisionRow<'p>) -> Sorted<'p> {
    let (policy, point, inputs) = (row.policy, row.point, row.inputs);
    let mut sorted = Sorted::default();
    let holdouts = point.holdouts.iter().filter_map(|index| policy.experiments.holdouts.get(*index));
    for holdout in holdouts.filter(|holdout| holdout.validity.holds_at(inputs.now)) {
        let held_out = holdout.holds_out(inputs.user);
        sorted.assignments.push(holdout.assignment(held_out, !inputs.peek));
        if held_out && sorted.held_out.is_none() {
            sorted.held_out = Some(holdout);
        }
    }
    if sorted.held_out.is_some() {
        return sorted;
    }
    for local in &point.experiments {
        let arm = arm_at(row, local, &mut sorted.unanswered);
        if let Some((experiment, arm)) = arm.and_then(|index| {
            let experiment = policy.experiments.experiments.get(local.experiment)?;
            Some((experiment, experiment.arms.get(index)?))
        }) {
            sorted.assignments.push(Assignment {
                experiment: Arc::clone(&experiment.name),
                arm: Arc::clone(&arm.name),
                enrolled: !inputs.peek,
            });
        }
        sorted.arms.push(arm);
    }
    sorted
}

/// The arm of the row's user, if the experiment holds, takes the user's bucket and the user is eligible.
fn arm_at(row: &DecisionRow<'_>, local: &LocalExperiment, unanswered: &mut Vec<Reason>) -> Option<usize> {
    let experiment = row.policy.experiments.experiments.get(local.experiment)?;
    let user = row.inputs.user;
    if !(experiment.validity.holds_at(row.inputs.now) && experiment.takes(experiment.sorter.bucket(user))) {
        return None;
    }
    if let Some(when) = &local.when {
        let evaluated = when.expression().evaluate(row);
        match evaluated.as_boolean() {
            Some(true) => {}
            Some(false) => return None,
            None => {
                unanswered.push(when.unanswered(ReasonCode::MissingInput, &evaluated));
                return None;
            }
        }
    }
    experiment.arm_of(user)
}

impl<'p> Sorted<'p> {
    /// What the user's arms change at `point`, with the words that name each arm.
    fn changes(
        &self,
        policy: &'p PolicySnapshot,
        point: &'p Point,
    ) -> impl Iterator<Item = (&'p LocalExperiment, &'p Arm, &'p ArmChanges)> {
        point.experiments.iter().zip(&self.arms).filter_map(|(local, arm)| {
            let experiment = policy.experiments.experiments.get(local.experiment)?;
            Some((local, experiment.arms.get((*arm)?)?, local.changes.get((*arm)?)?))
        })
    }

    /// The product of the factors that the user's arms put on the value of `candidate`.
    pub(crate) fn factor(&self, row: &DecisionRow<'p>, candidate: usize) -> f64 {
        let factors = self.changes(row.policy, row.point).flat_map(|(_, _, changes)| &changes.factors);
        factors.filter(|(known, _)| *known == candidate).fold(1.0, |product, (_, factor)| product * factor)
    }

    /// What stands in for the payload of `candidate`; the first declared experiment wins.
    pub(crate) fn payload(&self, row: &DecisionRow<'p>, candidate: usize) -> Option<&'p ArmPayload> {
        let mut payloads = self.changes(row.policy, row.point).flat_map(|(_, _, changes)| &changes.payloads);
        payloads.find(|(known, _)| *known == candidate).map(|(_, payload)| payload)
    }

    /// The arms that had a say about `candidate`: they change its payload or value, or expressions of the point read
    /// them.
    pub(crate) fn reasons(&self, row: &DecisionRow<'p>, candidate: usize) -> impl Iterator<Item = Reason> {
        let had_a_say = move |local: &LocalExperiment, changes: &ArmChanges| {
            local.is_read
                || changes.payloads.iter().any(|(known, _)| *known == candidate)
                || changes.factors.iter().any(|(known, _)| *known == candidate)
        };
        let arms = self.changes(row.policy, row.point);
        arms.filter(move |(local, _, changes)| had_a_say(local, changes))
            .map(|(_, arm, _)| Reason::with(ReasonCode::ExperimentArm, Arc::clone(&arm.words)))
    }
}

/// How a user stands with an experiment or a holdout, before any condition is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In an arm, if the experiment's condition holds.
    In,
    /// The user's bucket is not among those taken.
    Outside,
    /// A holdout keeps the user from the experiment.
    HeldOut,
    /// It does not hold now.
    NotRunning,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 4] = [Self::In, Self::Outside, Self::HeldOut, Self::NotRunning];

    /// The word used on the wire and by the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "IN",
            Self::Outside => "OUTSIDE",
            Self::HeldOut => "HELD_OUT",
            Self::NotRunning => "NOT_RUNNING",
        }
    }
}

/// One holdout or experiment as one user stands with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserStanding {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is a holdout.
    pub is_holdout: bool,
    /// How the user stands.
    pub standing: Standing,
    /// The arm, of an experiment also where the user stands outside or is held out: it would be this one.
    pub arm: Arc<str>,
    /// Where the user stands among a million, in the layer, the experiment or the holdout.
    pub bucket: u32,
    /// Whether a condition decides beside it, which only a decision can ask.
    pub has_condition: bool,
    /// Whose experiment it is, if the policy says.
    pub owner: Option<Arc<str>>,
}

impl Experiments {
    /// How `user` stands with everything at `now`, holdouts first, in file order. `held_out` says whether some holdout
    /// keeps the user from the experiment with this index at each of its decision points.
    pub(crate) fn standings(
        &self,
        user: UserKey,
        now: Timestamp,
        held_out: impl Fn(usize) -> bool,
    ) -> Vec<UserStanding> {
        let holdouts = self.holdouts.iter().map(|holdout| {
            let is_held_out = holdout.holds_out(user);
            UserStanding {
                name: Arc::clone(&holdout.name),
                is_holdout: true,
                standing: if !holdout.validity.holds_at(now) {
                    Standing::NotRunning
                } else if is_held_out {
                    Standing::In
                } else {
                    Standing::Outside
                },
                arm: Arc::clone(holdout.arm(is_held_out)),
                bucket: holdout.sorter.bucket(user),
                has_condition: false,
                owner: None,
            }
        });
        let experiments = self.experiments.iter().enumerate().map(|(index, experiment)| {
            let bucket = experiment.sorter.bucket(user);
            let arm = experiment.arm_of(user).and_then(|arm| experiment.arms.get(arm));
            UserStanding {
                name: Arc::clone(&experiment.name),
                is_holdout: false,
                standing: if !experiment.validity.holds_at(now) {
                    Standing::NotRunning
                } else if held_out(index) {
                    Standing::HeldOut
                } else if experiment.takes(bucket) {
                    Standing::In
                } else {
                    Standing::Outside
                },
                arm: arm.map_or_else(|| NO_ARM.into(), |arm| Arc::clone(&arm.name)),
                bucket,
                has_condition: experiment.has_condition,
                owner: experiment.owner.clone(),
            }
        });
        holdouts.chain(experiments).collect()
    }
}

impl PolicySnapshot {
    /// The share of users that each arm of the experiment, or each side of the holdout, called `name` should have; `None`
    /// if there is neither.
    pub fn declared_shares(&self, name: &str) -> Option<Vec<(Arc<str>, f64)>> {
        let Experiments { holdouts, experiments } = &self.experiments;
        if let Some(experiment) = experiments.iter().find(|experiment| *experiment.name == *name) {
            let all: f64 = experiment.arms.iter().map(|arm| arm.weight).sum();
            let arms = experiment.arms.iter().map(|arm| (Arc::clone(&arm.name), arm.weight / all));
            return Some(arms.collect());
        }
        let holdout = holdouts.iter().find(|holdout| *holdout.name == *name)?;
        let share = f64::from(holdout.below) / f64::from(BUCKETS);
        let [held, reached] = &holdout.arms;
        Some(vec![(Arc::clone(held), share), (Arc::clone(reached), 1.0 - share)])
    }

    /// The slot of the feature whose value from before reports on the experiment called `name` take off, if it says so.
    pub fn declared_pre(&self, name: &str) -> Option<usize> {
        let mut experiments = self.experiments.experiments.iter();
        experiments.find(|experiment| *experiment.name == *name)?.pre
    }

    /// How `user` stands with every holdout and experiment at `now`, holdouts first, in file order. Nothing is asked
    /// but the hash and the dates: conditions need a decision.
    pub fn standings(&self, user: UserKey, now: Timestamp) -> Vec<UserStanding> {
        let holds_out = |index: &usize| {
            let holdout = self.experiments.holdouts.get(*index);
            holdout.is_some_and(|holdout| holdout.validity.holds_at(now) && holdout.holds_out(user))
        };
        self.experiments.standings(user, now, |experiment| {
            let takes_part =
                |point: &&Point| point.experiments.iter().any(|local| local.experiment == experiment);
            let mut points = self.points.iter().filter(takes_part).peekable();
            points.peek().is_some() && points.all(|point| point.holdouts.iter().any(holds_out))
        })
    }
}
