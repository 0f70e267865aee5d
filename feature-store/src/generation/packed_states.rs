//! One user's states in every live generation while a writer takes in events: unpacked only where they are touched.
//!
//! Not here: what rewrites a user's log (`states`), or the packed state itself (`state`).

use augur_domain::{Event, UserKey};

use super::{Definitions, Live};
use crate::state::PackedState;
use crate::store::{Generation, Store};
use crate::{DecodeError, Error, rebuild};

/// As [`super::LiveStates`], for appending to the user's log.
#[derive(Debug)]
pub(crate) struct PackedStates {
    states: Vec<Option<PackedState>>,
    healed: bool,
}

/// Which events are going to be taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ahead<'a> {
    /// Of these names.
    Named(&'a [&'a str]),
    /// Any.
    Any,
}

impl PackedStates {
    /// The states of the `records` that are stored, one per live generation; empty ones for an unknown user. One that
    /// cannot be read is rebuilt from the event log. What the events ahead touch is unpacked.
    ///
    /// # Errors
    /// [`Error::Storage`], or [`Error::Corrupted`] when the event log cannot be read either.
    pub(crate) fn open(
        store: &dyn Store,
        live: &Live,
        user: UserKey,
        records: impl IntoIterator<Item = Option<Vec<u8>>>,
        ahead: Ahead<'_>,
    ) -> Result<Self, Error> {
        let mut opened = Self { states: Vec::new(), healed: false };
        for (definitions, record) in live.all().zip(records) {
            let state = match record.map(|record| open(record, definitions, ahead)) {
                // An installed state has seen all events: one that has not is as wrong as one that cannot be read.
                Some(Ok(state)) if opened.serving().is_none_or(|it| it.watermark() == state.watermark()) => {
                    Some(state)
                }
                None if opened.watermark() == 0 => Some(PackedState::new(definitions.schema())),
                None => None,
                Some(state) => {
                    let generation = definitions.generation().number();
                    tracing::error!(%user, generation, "rebuilding a damaged state from the event log");
                    match rebuild::heal(store, definitions, user) {
                        // Beside a state that serves, it stays unreadable.
                        Err(Error::Corrupted { .. }) if state.is_err() && opened.serving().is_some() => None,
                        healed => {
                            opened.healed = true;
                            Some(PackedState::of(healed?))
                        }
                    }
                }
            };
            opened.states.push(state);
        }
        Ok(opened)
    }

    fn serving(&self) -> Option<&PackedState> {
        self.states.first().and_then(Option::as_ref)
    }

    /// How many events are in them.
    pub(crate) fn watermark(&self) -> u64 {
        self.serving().map_or(0, PackedState::watermark)
    }

    /// Whether one was rebuilt while it was opened and is to be stored even without a new event.
    pub(crate) const fn healed(&self) -> bool {
        self.healed
    }

    /// Carries one event into all of them.
    ///
    /// # Errors
    /// For a damaged aggregate that was not unpacked ahead; what is left then must not be stored.
    pub(crate) fn take_in(&mut self, event: &Event, live: &Live) -> Result<(), DecodeError> {
        let states = self.states.iter_mut().zip(live.all());
        states
            .filter_map(|(state, definitions)| Some((state.as_mut()?, definitions)))
            .try_for_each(|(state, definitions)| state.take_in(event, definitions.schema()))
    }

    /// Appends the packed records.
    pub(crate) fn encode(&self, user: UserKey, live: &Live, out: &mut Vec<(Generation, UserKey, Vec<u8>)>) {
        for (state, definitions) in self.states.iter().zip(live.all()) {
            if let Some(state) = state {
                let mut record = Vec::with_capacity(rebuild::USUAL_RECORD_BYTES);
                state.encode(definitions.schema(), &mut record);
                out.push((definitions.generation(), user, record));
            }
        }
    }
}

fn open(record: Vec<u8>, definitions: &Definitions, ahead: Ahead<'_>) -> Result<PackedState, DecodeError> {
    let schema = definitions.schema();
    let mut state = PackedState::open(record, schema)?;
    match ahead {
        Ahead::Named(names) => names.iter().try_for_each(|name| state.unpack_for(name, schema))?,
        Ahead::Any => state.unpack_all(schema)?,
    }
    Ok(state)
}
