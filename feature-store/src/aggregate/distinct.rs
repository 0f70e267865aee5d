//! How many different values there were since ever: exact while there are few, an estimate beyond.
//!
//! Whether it is an estimate, and which, depends on the set of values alone. Not here: windows (`distinct_windows`).

use augur_domain::Timestamp;

use super::hash::hash;
use super::hyper_log_log::{Histogram, Registers, standard_error};
use super::{Input, Keep, Measured, put_time, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure};

/// Most values that a declaration may ask to keep one by one.
pub(crate) const MAX_EXACT_VALUES: u32 = 4_096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distinct {
    latest: Timestamp,
    values: Values,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    /// Hashes, ascending.
    Few(Vec<u64>),
    Many(Registers),
}

impl Values {
    fn add(&mut self, hash: u64, spec: &AggregateSpec) {
        let (most, precision) = parts(spec);
        match self {
            Self::Few(hashes) => {
                let Err(place) = hashes.binary_search(&hash) else { return };
                hashes.insert(place, hash);
                if hashes.len() > most {
                    let mut registers = Registers::new(precision);
                    hashes.iter().for_each(|hash| registers.add(*hash));
                    *self = Self::Many(registers);
                }
            }
            Self::Many(registers) => registers.add(hash),
        }
    }
}

fn parts(spec: &AggregateSpec) -> (usize, u8) {
    match &spec.kind {
        AggregateKind::Distinct { exact_values, precision, .. } => (*exact_values as usize, *precision),
        _ => (0, 12),
    }
}

impl Keep for Distinct {
    fn begin(at: Timestamp, _spec: &AggregateSpec) -> Self {
        Self { latest: at, values: Values::Few(Vec::new()) }
    }

    fn add(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        if let Some(value) = input.value {
            self.latest = self.latest.max(input.at);
            self.values.add(hash(value), spec);
        }
    }

    fn merge(&mut self, other: &Self, spec: &AggregateSpec) {
        self.latest = self.latest.max(other.latest);
        match (&mut self.values, &other.values) {
            (values, Values::Few(hashes)) => hashes.iter().for_each(|hash| values.add(*hash, spec)),
            (Values::Many(registers), Values::Many(others)) => registers.merge(others),
            (Values::Few(hashes), Values::Many(others)) => {
                let mut registers = others.clone();
                hashes.iter().for_each(|hash| registers.add(*hash));
                self.values = Values::Many(registers);
            }
        }
    }

    fn measure(&self, measure: Measure, _now: Timestamp, spec: &AggregateSpec) -> Option<Measured> {
        let Measure::Distinct = measure else { return None };
        Some(match &self.values {
            Values::Few(hashes) => Measured::number(hashes.len() as f64),
            Values::Many(registers) => estimated(registers.histogram(), parts(spec).1),
        })
    }

    fn peek(
        mut reader: Reader<'_>,
        measures: impl Iterator<Item = Measure>,
        _now: Timestamp,
        spec: &AggregateSpec,
        mut tell: impl FnMut(Option<Measured>, Timestamp),
    ) -> Result<(), DecodeError> {
        const FIELD: &str = "distinct values";
        let latest = take_time(&mut reader, FIELD)?;
        let measured = match reader.byte(FIELD)? {
            0 => Measured::number(reader.unsigned(FIELD)? as f64),
            1 => estimated(Histogram::take(&mut reader, parts(spec).1)?, parts(spec).1),
            _ => return Err(DecodeError::Invalid { field: FIELD }),
        };
        measures.for_each(|measure| tell((measure == Measure::Distinct).then(|| measured.clone()), latest));
        Ok(())
    }

    fn latest(&self) -> Timestamp {
        self.latest
    }

    fn encode(&self, _spec: &AggregateSpec, out: &mut Vec<u8>) {
        put_time(out, self.latest);
        match &self.values {
            Values::Few(hashes) => {
                out.push(0);
                bytes::put_unsigned(out, hashes.len() as u64);
                hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
            }
            Values::Many(registers) => {
                out.push(1);
                registers.encode(out);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>, spec: &AggregateSpec) -> Result<Self, DecodeError> {
        const FIELD: &str = "distinct values";
        let (most, precision) = parts(spec);
        let latest = take_time(reader, FIELD)?;
        let values = match reader.byte(FIELD)? {
            0 => Values::Few(take_hashes(reader, most)?),
            1 => Values::Many(Registers::decode(reader, precision)?),
            _ => return Err(DecodeError::Invalid { field: FIELD }),
        };
        Ok(Self { latest, values })
    }
}

fn estimated(histogram: Histogram, precision: u8) -> Measured {
    let approximation_error = Some(standard_error(precision));
    Measured { approximation_error, ..Measured::number(histogram.estimate(precision)) }
}

fn take_hashes(reader: &mut Reader<'_>, most: usize) -> Result<Vec<u64>, DecodeError> {
    const FIELD: &str = "distinct values";
    let count = reader.count(FIELD, 8)?;
    let mut hashes: Vec<u64> = Vec::with_capacity(count);
    for _ in 0..count {
        let hash = u64::from_le_bytes(reader.array(FIELD)?);
        if hashes.last().is_some_and(|previous| *previous >= hash) {
            return Err(DecodeError::Invalid { field: FIELD });
        }
        hashes.push(hash);
    }
    if count <= most { Ok(hashes) } else { Err(DecodeError::Invalid { field: FIELD }) }
}
