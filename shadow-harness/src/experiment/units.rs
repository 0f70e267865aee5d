//! Who is in which arm, and what came of each: one entry per unit, in the order in which units were first met.
//!
//! Memory is bounded by the number of units, about 80 bytes each; more than the bound is refused. Not here: reading files
//! or logs, or what the numbers mean (`report`).

use std::collections::HashMap;

use augur_domain::UserKey;

use super::Problem;

/// Most units of one report; about 1.6 GB.
pub const MAX_UNITS: usize = 20_000_000;
/// Most arms of one experiment.
pub const MAX_ARMS: usize = 64;

/// What was measured of one unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    pub(super) arm: u8,
    /// It was met in another arm, too.
    several: bool,
    pub(super) converted: bool,
    pub(super) value: f64,
    /// What was known of it before the experiment.
    pub(super) before: Option<f64>,
}

/// Units by arm.
#[derive(Debug, Default)]
pub struct Units {
    arms: Vec<String>,
    index: HashMap<UserKey, u32>,
    pub(super) units: Vec<Unit>,
    limit: Option<usize>,
}

/// One unit among [`Units`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitId(u32);

impl Units {
    /// Nobody yet, with room for [`MAX_UNITS`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts `key` into `arm` unless it is counted already: then it stays where it was first met, and is remembered as
    /// one of several arms if this is another.
    ///
    /// # Errors
    /// [`Problem::TooManyUnits`], [`Problem::TooManyArms`].
    pub fn enrol(&mut self, key: UserKey, arm: &str) -> Result<UnitId, Problem> {
        let arm = self.arm(arm)?;
        if let Some(known) = self.index.get(&key) {
            if let Some(unit) = self.units.get_mut(*known as usize) {
                unit.several |= unit.arm != arm;
            }
            return Ok(UnitId(*known));
        }
        let limit = self.limit.unwrap_or(MAX_UNITS);
        let id = u32::try_from(self.units.len()).ok().filter(|_| self.units.len() < limit);
        let id = id.ok_or(Problem::TooManyUnits { limit })?;
        self.index.insert(key, id);
        self.units.push(Unit { arm, several: false, converted: false, value: 0.0, before: None });
        Ok(UnitId(id))
    }

    /// Notes that a unit converted.
    pub fn convert(&mut self, id: UnitId) {
        if let Some(unit) = self.units.get_mut(id.0 as usize) {
            unit.converted = true;
        }
    }

    /// Adds to what a unit is worth.
    pub fn add_value(&mut self, id: UnitId, value: f64) {
        if let Some(unit) = self.units.get_mut(id.0 as usize) {
            // A sum that overflows stays where it was: infinities tell nothing.
            let sum = unit.value + value;
            unit.value = if sum.is_finite() { sum } else { unit.value };
        }
    }

    /// Notes what was known of a unit before the experiment; the first word stands.
    pub fn set_before(&mut self, id: UnitId, before: f64) {
        if let Some(unit) = self.units.get_mut(id.0 as usize) {
            unit.before.get_or_insert(before);
        }
    }

    /// The arms, in the order in which they were first met.
    pub fn arms(&self) -> &[String] {
        &self.arms
    }

    /// How many units there are.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Units that were met in more than one arm.
    pub(super) fn of_several_arms(&self) -> u64 {
        self.units.iter().filter(|unit| unit.several).count() as u64
    }

    fn arm(&mut self, name: &str) -> Result<u8, Problem> {
        let place = self.arms.iter().position(|known| known == name);
        let place = place.unwrap_or_else(|| {
            self.arms.push(name.to_owned());
            self.arms.len() - 1
        });
        u8::try_from(place)
            .ok()
            .filter(|_| place < MAX_ARMS)
            .ok_or_else(|| Problem::TooManyArms { limit: MAX_ARMS, found: name.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> UserKey {
        UserKey::from_bytes([n; 16])
    }

    #[test]
    fn a_unit_stays_in_its_first_arm() {
        let mut units = Units::new();
        let ada = units.enrol(key(1), "a").unwrap();
        assert_eq!(units.enrol(key(1), "a"), Ok(ada));
        assert_eq!(units.of_several_arms(), 0);
        assert_eq!(units.enrol(key(1), "b"), Ok(ada));
        units.enrol(key(2), "b").unwrap();
        units.convert(ada);
        units.add_value(ada, 2.0);
        units.add_value(ada, f64::MAX);
        units.add_value(ada, f64::MAX);
        units.set_before(ada, 7.0);
        units.set_before(ada, 8.0);
        assert_eq!(units.of_several_arms(), 1);
        let expected =
            Unit { arm: 0, several: true, converted: true, value: 2.0 + f64::MAX, before: Some(7.0) };
        assert_eq!(units.units[0], expected);
        assert_eq!(units.arms(), ["a", "b"]);
    }

    #[test]
    fn bounds_hold() {
        let mut units = Units { limit: Some(2), ..Units::new() };
        units.enrol(key(1), "a").unwrap();
        units.enrol(key(2), "a").unwrap();
        assert_eq!(units.enrol(key(3), "a"), Err(Problem::TooManyUnits { limit: 2 }));
        let mut units = Units::new();
        for n in 0..MAX_ARMS {
            units.enrol(key(n as u8), &n.to_string()).unwrap();
        }
        assert!(matches!(units.enrol(key(200), "one more"), Err(Problem::TooManyArms { .. })));
    }
}
