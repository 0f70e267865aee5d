//! The bytes of a person's profile.
//!
//! Layout of version 1 inside the seal of [`crate::bytes`]: the number of ids, then per id, in their order: the id, when it
//! joined (0, or 1 and the instant), the time zone (0, or 1, the instant and a text that is empty when it was taken
//! back), traits, consents and suppressions, each as a count and then name, instant and value in the order of names. The
//! value of a trait is a kind and, but for the kind of one that was taken back, a boolean's byte, a number's bits or a text; that of the
//! others is a byte. Not here: what any of it means (`profile`).

use std::sync::Arc;

use augur_domain::value::{Finite, Value};
use augur_domain::{Timestamp, UserKey};

use super::{Entries, Profile, Said, Section, Sections};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;

const MAGIC: u8 = b'U';
const VERSION: u8 = 1;

const TAKEN_BACK: u8 = 0;
const BOOLEAN: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 3;

pub(crate) fn encode(sections: &[Section]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes::seal(&mut out, MAGIC, VERSION, |out| {
        bytes::put_unsigned(out, sections.len() as u64);
        for Section { origin, joined_at, profile } in sections {
            out.extend_from_slice(origin.as_bytes());
            out.push(u8::from(joined_at.is_some()));
            if let Some(joined_at) = joined_at {
                bytes::put_signed(out, joined_at.unix_ms());
            }
            put_profile(out, profile);
        }
    });
    out
}

fn put_profile(out: &mut Vec<u8>, profile: &Profile) {
    out.push(u8::from(profile.time_zone.is_some()));
    if let Some(Said { value, at }) = &profile.time_zone {
        bytes::put_signed(out, at.unix_ms());
        bytes::put_text(out, value.as_deref().unwrap_or_default());
    }
    put_entries(out, &profile.traits, |out, value| out.extend(trait_bytes(value)));
    put_entries(out, &profile.consents, |out, granted| out.push(u8::from(*granted)));
    put_entries(out, &profile.suppressions, |out, suppressed| out.push(u8::from(*suppressed)));
}

fn put_entries<T>(out: &mut Vec<u8>, entries: &Entries<T>, put: impl Fn(&mut Vec<u8>, &T)) {
    bytes::put_unsigned(out, entries.len() as u64);
    for (name, Said { value, at }) in entries {
        bytes::put_text(out, name);
        bytes::put_signed(out, at.unix_ms());
        put(out, value);
    }
}

pub(super) fn trait_bytes(value: &Option<Value>) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        None => out.push(TAKEN_BACK),
        Some(Value::Boolean(boolean)) => out.extend([BOOLEAN, u8::from(*boolean)]),
        Some(Value::Number(number)) => {
            out.push(NUMBER);
            bytes::put_f64(&mut out, number.get());
        }
        Some(Value::Text(text)) => {
            out.push(TEXT);
            bytes::put_text(&mut out, text);
        }
    }
    out
}

pub(crate) fn decode(record: &[u8]) -> Result<Sections, DecodeError> {
    let (_, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
    let count = reader.count("ids of a profile", UserKey::LEN + 5)?;
    let mut sections = Sections::with_capacity(count);
    for _ in 0..count {
        let origin = UserKey::from_bytes(reader.array("id of a profile")?);
        if sections.last().is_some_and(|last| last.origin >= origin) {
            return Err(DecodeError::Invalid { field: "order of ids" });
        }
        let joined_at =
            flag(&mut reader, "joined")?.then(|| instant(&mut reader, "joined at")).transpose()?;
        sections.push(Section { origin, joined_at, profile: profile(&mut reader)? });
    }
    reader.finish()?;
    Ok(sections)
}

fn profile(reader: &mut Reader<'_>) -> Result<Profile, DecodeError> {
    let mut profile = Profile::default();
    if flag(reader, "time zone")? {
        let at = instant(reader, "time zone")?;
        let name = reader.text("time zone")?;
        let value = (!name.is_empty()).then(|| Arc::from(name));
        profile.time_zone = Some(Said { value, at });
    }
    profile.traits = entries(reader, trait_value)?;
    profile.consents = entries(reader, |reader| flag(reader, "consent"))?;
    profile.suppressions = entries(reader, |reader| flag(reader, "suppression"))?;
    Ok(profile)
}

fn entries<T>(
    reader: &mut Reader<'_>,
    value: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Entries<T>, DecodeError> {
    let count = reader.count("entries of a profile", 3)?;
    let mut entries = Entries::<T>::with_capacity(count);
    for _ in 0..count {
        let name = reader.text("name in a profile")?;
        if entries.last().is_some_and(|(last, _)| **last >= *name) {
            return Err(DecodeError::Invalid { field: "order of names in a profile" });
        }
        let at = instant(reader, "instant in a profile")?;
        entries.push((name.into(), Said { value: value(reader)?, at }));
    }
    Ok(entries)
}

fn trait_value(reader: &mut Reader<'_>) -> Result<Option<Value>, DecodeError> {
    let field = "trait";
    Ok(match reader.byte(field)? {
        TAKEN_BACK => None,
        BOOLEAN => Some(Value::Boolean(flag(reader, field)?)),
        NUMBER => {
            let number = reader.finite(field)?;
            let finite = Finite::new(number).filter(|finite| finite.get().to_bits() == number.to_bits());
            Some(Value::Number(finite.ok_or(DecodeError::Invalid { field })?))
        }
        TEXT => Some(Value::Text(reader.text(field)?.into())),
        _ => return Err(DecodeError::Invalid { field }),
    })
}

fn instant(reader: &mut Reader<'_>, field: &'static str) -> Result<Timestamp, DecodeError> {
    reader.signed(field).map(Timestamp::from_unix_ms)
}

fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match reader.byte(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid { field }),
    }
}
