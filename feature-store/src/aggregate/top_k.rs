//! The most frequent values: exact counts while there are few values, upper bounds with a stated error beyond.
//!
//! Space-saving (Metwally, Agrawal and El Abbadi, ICDT 2005): a value that does not fit takes the place of the rarest one
//! and starts with its count as the error. Merging as in Agarwal et al., "Mergeable summaries" (PODS 2012). While no value was
//! ever displaced, counts are exact in any order of arrival; beyond that they depend on the order, but a true count always lies
//! between `count - error` and `count`, and no value that is not kept has more than `missed`. Equal counts are ordered
//! by value. Not here: texts that are too long to keep, which do not count.

use std::cmp::Ordering;

use augur_domain::{Timestamp, Value, math};

use super::{Input, Keep, Measured, add_bounded, pass_value, put_time, put_value, take_time, take_value};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure};

const FIELD: &str = "top values";
/// Most values that a declaration may ask to count.
pub(crate) const MAX_CAPACITY: u32 = 1_024;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TopK {
    /// The instant that all weights are true at, if they decay.
    latest: Timestamp,
    /// The weight of all occurrences.
    total: f64,
    /// No value outside `entries` has more; 0 while all values are inside.
    missed: f64,
    /// Ascending by value.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    value: Value,
    /// At least the true weight.
    count: f64,
    /// At most so much too much.
    error: f64,
}

impl TopK {
    /// Brings all weights to `at`, if that is later; gives what an occurrence at `at` weighs then.
    fn advance(&mut self, at: Timestamp, half_life_ms: Option<i64>) -> f64 {
        let Some(half_life_ms) = half_life_ms else {
            self.latest = self.latest.max(at);
            return 1.0;
        };
        let ahead_ms = at.millis_since(self.latest);
        if ahead_ms <= 0 {
            return math::decay(-ahead_ms, half_life_ms);
        }
        self.latest = at;
        let factor = math::decay(ahead_ms, half_life_ms);
        self.total *= factor;
        self.missed *= factor;
        for entry in &mut self.entries {
            entry.count *= factor;
            entry.error *= factor;
        }
        1.0
    }

    fn take_in(&mut self, value: &Value, weight: f64, capacity: usize) {
        self.total = add_bounded(self.total, weight);
        match self.entries.binary_search_by(|entry| order(&entry.value, value)) {
            Ok(place) => {
                if let Some(entry) = self.entries.get_mut(place) {
                    entry.count = add_bounded(entry.count, weight);
                }
            }
            Err(place) => {
                let (count, error) = (add_bounded(self.missed, weight), self.missed);
                self.entries.insert(place, Entry { value: value.clone(), count, error });
                self.keep(capacity, Some(place));
            }
        }
    }

    /// Drops the rarest beyond the capacity, sparing the newcomer: it takes the place of another.
    fn keep(&mut self, capacity: usize, newcomer: Option<usize>) {
        if self.entries.len() <= capacity {
            return;
        }
        let others = self.entries.iter().enumerate().filter(|(place, _)| Some(*place) != newcomer);
        let rarest = others.max_by(|(_, one), (_, two)| rank(one, two)).map(|(place, _)| place);
        let (Some(rarest), true) = (rarest, self.entries.len() > 1) else { return };
        let dropped = self.entries.remove(rarest);
        if dropped.count > self.missed {
            let (newcomer, before) = (newcomer.map(|place| place - usize::from(rarest < place)), self.missed);
            self.missed = dropped.count;
            if let Some(entry) = newcomer.and_then(|place| self.entries.get_mut(place)) {
                entry.count = add_bounded(entry.count - before, self.missed);
                entry.error = self.missed;
            }
        }
    }

    /// The entry of this rank, from 0.
    fn at_rank(&self, wanted: u32) -> Option<&Entry> {
        let mut ranked: Vec<&Entry> = self.entries.iter().filter(|entry| entry.count > 0.0).collect();
        ranked.sort_by(|one, two| rank(one, two));
        ranked.get(wanted as usize).copied()
    }
}

/// The most frequent first, equal ones by value.
fn rank(one: &Entry, two: &Entry) -> Ordering {
    two.count.total_cmp(&one.count).then_with(|| order(&one.value, &two.value))
}

/// Any total order of values.
fn order(one: &Value, two: &Value) -> Ordering {
    match (one, two) {
        (Value::Boolean(one), Value::Boolean(two)) => one.cmp(two),
        (Value::Number(one), Value::Number(two)) => one.get().total_cmp(&two.get()),
        (Value::Text(one), Value::Text(two)) => one.cmp(two),
        _ => (one.value_type() as u8).cmp(&(two.value_type() as u8)),
    }
}

fn parts(spec: &AggregateSpec) -> (usize, Option<i64>) {
    match spec.kind {
        AggregateKind::TopK { capacity, half_life_ms, .. } => (capacity as usize, half_life_ms),
        _ => (0, None),
    }
}

/// What is known of all values together.
struct Summary {
    latest: Timestamp,
    total: f64,
    missed: f64,
}

impl Summary {
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let latest = take_time(reader, FIELD)?;
        Ok(Self { latest, total: reader.finite(FIELD)?, missed: reader.finite(FIELD)? })
    }

    /// Whether one value can have this count.
    fn holds(&self, count: f64) -> bool {
        count >= 0.0 && count <= self.total * (1.0 + 1e-9)
    }

    /// The share or the count of an entry; `None` when its value is asked for.
    fn measure(
        &self,
        count: f64,
        measure: Measure,
        now: Timestamp,
        spec: &AggregateSpec,
    ) -> Option<Measured> {
        let weight = |half_life_ms| math::decay(now.millis_since(self.latest), half_life_ms);
        match measure {
            Measure::TopShare { .. } => Some(Measured::number(count / self.total)),
            Measure::TopCount { .. } => Some(Measured::number(count * parts(spec).1.map_or(1.0, weight))),
            _ => None,
        }
    }

    /// Relative to the count of an entry that may be so much too great.
    fn error(&self, count: f64, error: f64) -> Option<f64> {
        (self.missed > 0.0).then_some(self.missed.max(error) / count)
    }
}

/// An entry in a record.
struct Packed<'a> {
    count: f64,
    error: f64,
    /// Where its value begins.
    value: Reader<'a>,
}

/// The most frequent values of a record, as many as the declaration has ranks.
fn take_ranked<'a>(
    reader: &mut Reader<'a>,
    summary: &Summary,
    spec: &AggregateSpec,
) -> Result<Vec<Packed<'a>>, DecodeError> {
    let AggregateKind::TopK { k, .. } = spec.kind else { return Ok(Vec::new()) };
    let ranks = k as usize;
    let mut ranked: Vec<Packed<'a>> = Vec::with_capacity(ranks.saturating_add(1));
    for _ in 0..reader.count(FIELD, 9)? {
        let value = reader.clone();
        pass_value(reader)?;
        let count = reader.finite(FIELD)?;
        let error = if summary.missed > 0.0 { reader.finite(FIELD)? } else { 0.0 };
        if !summary.holds(count) || error < 0.0 {
            return Err(DecodeError::Invalid { field: FIELD });
        }
        // Entries come by value, which is how equal counts are ranked.
        let place = ranked.partition_point(|kept| kept.count >= count);
        if count > 0.0 && place < ranks {
            ranked.insert(place, Packed { count, error, value });
            ranked.truncate(ranks);
        }
    }
    Ok(ranked)
}
impl Keep for TopK {
    fn begin(at: Timestamp, _spec: &AggregateSpec) -> Self {
        Self { latest: at, total: 0.0, missed: 0.0, entries: Vec::new() }
    }

    fn add(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        if let Some(value) = input.value {
            let (capacity, half_life_ms) = parts(spec);
            let weight = self.advance(input.at, half_life_ms);
            self.take_in(value, weight, capacity);
        }
    }

    fn merge(&mut self, other: &Self, spec: &AggregateSpec) {
        let (capacity, half_life_ms) = parts(spec);
        let mut other = other.clone();
        let latest = self.latest.max(other.latest);
        self.advance(latest, half_life_ms);
        other.advance(latest, half_life_ms);
        let missing = |summary: &Self, entry: &Entry| {
            summary.entries.binary_search_by(|kept| order(&kept.value, &entry.value)).is_err()
        };
        let mut added: Vec<Entry> = Vec::new();
        for entry in &other.entries {
            if missing(self, entry) {
                let count = add_bounded(entry.count, self.missed);
                let error = add_bounded(entry.error, self.missed);
                added.push(Entry { value: entry.value.clone(), count, error });
            }
        }
        for entry in &mut self.entries {
            let found = other.entries.binary_search_by(|kept| order(&kept.value, &entry.value)).ok();
            let (count, error) = found
                .and_then(|place| other.entries.get(place))
                .map_or((other.missed, other.missed), |found| (found.count, found.error));
            entry.count = add_bounded(entry.count, count);
            entry.error = add_bounded(entry.error, error);
        }
        self.entries.append(&mut added);
        self.entries.sort_by(|one, two| order(&one.value, &two.value));
        self.total = add_bounded(self.total, other.total);
        self.missed = add_bounded(self.missed, other.missed);
        while self.entries.len() > capacity.max(1) {
            self.keep(capacity, None);
        }
    }

    fn measure(&self, measure: Measure, now: Timestamp, spec: &AggregateSpec) -> Option<Measured> {
        let (Measure::TopValue { rank } | Measure::TopShare { rank } | Measure::TopCount { rank }) = measure
        else {
            return None;
        };
        let entry = self.at_rank(rank)?;
        let Self { latest, total, missed, .. } = *self;
        let summary = Summary { latest, total, missed };
        let measured = summary.measure(entry.count, measure, now, spec);
        let measured = measured.unwrap_or_else(|| Measured::value(&entry.value));
        let approximation_error = summary.error(entry.count, entry.error);
        Some(Measured { approximation_error, ..measured })
    }

    /// Keeps the ranks that can be asked for, and unpacks no value but those that are.
    fn peek(
        mut reader: Reader<'_>,
        measures: impl Iterator<Item = Measure>,
        now: Timestamp,
        spec: &AggregateSpec,
        mut tell: impl FnMut(Option<Measured>, Timestamp),
    ) -> Result<(), DecodeError> {
        let summary = Summary::take(&mut reader)?;
        let ranked = take_ranked(&mut reader, &summary, spec)?;
        for measure in measures {
            let (Measure::TopValue { rank } | Measure::TopShare { rank } | Measure::TopCount { rank }) =
                measure
            else {
                tell(None, summary.latest);
                continue;
            };
            let Some(entry) = ranked.get(rank as usize) else {
                tell(None, summary.latest);
                continue;
            };
            let measured = match summary.measure(entry.count, measure, now, spec) {
                Some(measured) => measured,
                None => Measured::value(&take_value(&mut entry.value.clone())?),
            };
            let approximation_error = summary.error(entry.count, entry.error);
            tell(Some(Measured { approximation_error, ..measured }), summary.latest);
        }
        Ok(())
    }

    fn latest(&self) -> Timestamp {
        self.latest
    }

    fn encode(&self, _spec: &AggregateSpec, out: &mut Vec<u8>) {
        put_time(out, self.latest);
        bytes::put_f64(out, self.total);
        bytes::put_f64(out, self.missed);
        bytes::put_unsigned(out, self.entries.len() as u64);
        for entry in &self.entries {
            put_value(out, &entry.value);
            bytes::put_f64(out, entry.count);
            if self.missed > 0.0 {
                bytes::put_f64(out, entry.error);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>, spec: &AggregateSpec) -> Result<Self, DecodeError> {
        let invalid = DecodeError::Invalid { field: FIELD };
        let summary = Summary::take(reader)?;
        let Summary { latest, total, missed } = summary;
        let count = reader.count(FIELD, 9)?;
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        for _ in 0..count {
            let value = take_value(reader)?;
            let count = reader.finite(FIELD)?;
            let error = if missed > 0.0 { reader.finite(FIELD)? } else { 0.0 };
            let ordered = entries.last().is_none_or(|last| order(&last.value, &value).is_lt());
            if !ordered || error < 0.0 || !summary.holds(count) {
                return Err(invalid);
            }
            entries.push(Entry { value, count, error });
        }
        let fits = count <= parts(spec).0.max(1) && total >= 0.0 && missed >= 0.0;
        if fits { Ok(Self { latest, total, missed, entries }) } else { Err(invalid) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{at, spec};
    use super::*;
    use augur_domain::ValueType;
    use augur_domain::ids::MessageKey;

    fn top(capacity: u32) -> AggregateSpec {
        spec(AggregateKind::TopK { k: 3, capacity, half_life_ms: None, value_type: ValueType::Text }, false)
    }

    fn counted(values: &[u8], capacity: u32) -> TopK {
        let spec = top(capacity);
        let mut top = TopK::begin(at(0), &spec);
        for value in values {
            let value = Value::Text(value.to_string().into());
            let input = Input {
                at: at(0),
                message_key: MessageKey::from_bytes([0; 16]),
                is_page: false,
                weight: 1.0,
                value: Some(&value),
            };
            top.add(&input, &spec);
        }
        top
    }

    fn check_bounds(top: &TopK, values: &[u8]) {
        let truth = |value: &Value| {
            values.iter().filter(|one| Value::Text(one.to_string().into()) == *value).count() as f64
        };
        for entry in &top.entries {
            let truth = truth(&entry.value);
            assert!(truth <= entry.count && truth >= entry.count - entry.error, "{entry:?} is {truth}");
        }
        for value in values {
            let value = Value::Text(value.to_string().into());
            let kept = top.entries.iter().any(|entry| entry.value == value);
            assert!(kept || truth(&value) <= top.missed);
        }
        assert_eq!(top.total, values.len() as f64);
    }

    proptest! {
        /// Whatever the order and the split, what is said of every value is true.
        #[test]
        fn bounds_hold_beyond_the_capacity(
            one in prop::collection::vec(0..20_u8, 0..200),
            two in prop::collection::vec(0..20_u8, 0..200),
            capacity in 1..12_u32,
        ) {
            let (mut merged, second) = (counted(&one, capacity), counted(&two, capacity));
            check_bounds(&merged, &one);
            // The guarantee of space-saving.
            prop_assert!(merged.missed <= one.len() as f64 / f64::from(capacity));
            merged.merge(&second, &top(capacity));
            check_bounds(&merged, &[one.clone(), two.clone()].concat());
            prop_assert!(merged.entries.len() <= capacity as usize);
            let mut reversed = second;
            reversed.merge(&counted(&one, capacity), &top(capacity));
            prop_assert_eq!(reversed, merged);
        }
    }

    #[test]
    fn equal_counts_are_ordered_by_value() {
        for values in [[3, 1, 2, 2, 1, 3], [2, 3, 1, 1, 3, 2]] {
            let top = counted(&values, 8);
            let ranked: Vec<_> =
                (0..4).map(|rank| top.at_rank(rank).map(|entry| entry.value.clone())).collect();
            let expected = ["1", "2", "3"].map(|text| Some(Value::Text(text.into())));
            assert_eq!(ranked[..3], expected);
            assert_eq!(ranked[3], None);
        }
    }
}
