//! The record of a writer's counters in RocksDB.
//!
//! Not here: its key and when it is written (`rocks`).

use super::Counters;
use crate::bytes;
use crate::error::DecodeError;

const MAGIC: u8 = b'C';
/// Version 1 knew no erased users.
const VERSION: u8 = 2;

pub(super) fn encode(counters: Counters) -> Vec<u8> {
    let mut record = Vec::new();
    bytes::seal(&mut record, MAGIC, VERSION, |out| {
        bytes::put_unsigned(out, counters.events);
        bytes::put_unsigned(out, counters.users);
        bytes::put_unsigned(out, counters.erased_users);
    });
    record
}

pub(super) fn decode(record: &[u8]) -> Result<Counters, DecodeError> {
    let (version, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
    let (events, users) = (reader.unsigned("events counter")?, reader.unsigned("users counter")?);
    let erased_users = if version < 2 { 0 } else { reader.unsigned("erased users counter")? };
    reader.finish()?;
    Ok(Counters { events, users, erased_users })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_counters() {
        let counters = Counters { events: 300, users: 2, erased_users: 1 };
        let hex: String = encode(counters).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "4302ac020201a25d128f", "stored counters depend on these bytes");
        let mut first_version = Vec::new();
        bytes::seal(&mut first_version, MAGIC, 1, |out| out.extend_from_slice(&[0xac, 2, 2]));
        assert_eq!(decode(&first_version).unwrap(), Counters { erased_users: 0, ..counters });
    }
}
