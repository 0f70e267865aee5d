//! What an export knows of a decision beside its record: whether the user was erased since, and what came of it.
//!
//! Not here: columns (`columns`), or the rules (`augur_shadow_harness::reward`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use augur_loadtest::domain::{DecisionRecord, Timestamp, UserKey};
use augur_server::offline::{event_history, is_erased};
use augur_server::{Clock, SystemClock};
use augur_shadow_harness::DataDirectory;
use augur_shadow_harness::reward::{JoinCounts, RewardRule, Rewards};

use crate::Error;
use crate::commands::replay::rewards;

/// Users remembered as erased or not; then they are looked up anew.
const MAX_KNOWN: usize = 1_000_000;

type IsErased = Box<dyn Fn(UserKey) -> Result<bool, Error>>;

/// The stores beside the log.
pub(super) struct Joined {
    /// `None` without a feature store.
    erased: Option<IsErased>,
    known: RefCell<BTreeMap<UserKey, bool>>,
    rules: Vec<RewardRule>,
    rewards: Rewards,
    /// What comes of decisions is known up to now.
    known_at: Timestamp,
}

impl Joined {
    pub(super) fn open(directory: &DataDirectory, rules: Option<&Path>) -> Result<Self, Error> {
        let erased = if directory.path().join("store").is_dir() {
            let history = event_history(directory.path())?;
            Some(Box::new(move |user| Ok(is_erased(&history, user)?)) as IsErased)
        } else {
            None
        };
        let rules = rules.map(rewards::read).transpose()?.unwrap_or_default();
        let rewards = Rewards::read(&directory.outcomes_dir(), &rules)?;
        let known_at = SystemClock::new().now();
        Ok(Self { erased, known: RefCell::default(), rules, rewards, known_at })
    }

    pub(super) fn rules(&self) -> &[RewardRule] {
        &self.rules
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.rules.iter().map(|rule| rule.name.clone()).collect()
    }

    /// Whether the user was erased, if that is known, and the reward by each rule.
    pub(super) fn of(&self, record: &DecisionRecord) -> Result<(Option<bool>, Vec<Option<f64>>), Error> {
        let (user, id) = (record.inputs.user, record.inputs.decision_id);
        let erased = self.erased.as_ref().map(|asks| self.look_up(asks, user)).transpose()?;
        let reward = |rule| {
            let joined =
                self.rewards.of(rule, id, record.inputs.now, self.known_at, &mut JoinCounts::default());
            joined.map(|joined| joined.reward)
        };
        Ok((erased, self.rules.iter().map(reward).collect()))
    }

    fn look_up(&self, asks: &IsErased, user: UserKey) -> Result<bool, Error> {
        if let Some(known) = self.known.borrow().get(&user) {
            return Ok(*known);
        }
        let found = asks(user)?;
        let mut known = self.known.borrow_mut();
        if known.len() == MAX_KNOWN {
            known.clear();
        }
        known.insert(user, found);
        Ok(found)
    }
}
