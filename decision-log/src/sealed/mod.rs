//! Sealed segments: a full segment written again, compressed, indexed, hashed and chained to the one before it.
//!
//! Not here: when that is done (`sealer`), or what is removed (`retention`).
//!
//! A sealed segment takes the place of the full segment whose name it has: it is written beside it, synced, read back,
//! and renamed over it, so that there is one of them at any time. Behind the header come frames as in every segment:
//!
//! | type | payload |
//! | --- | --- |
//! | 3, a block | `first sequence u64, records u32, raw bytes u32`, and zstd of the records, each `length u32` and its bytes |
//! | 4, the index | `blocks u32`, of each `offset u64, first sequence u64, earliest i64, latest i64`; `ids u32`, of each `fingerprint u32, place u32` |
//! | 5, the footer | `last sequence u64, earliest i64, latest i64, record bytes u64, index offset u64, previous [32], hash [32]` |
//!
//! Blocks are closed once they hold 256 KiB. Instants are milliseconds; the fingerprint is the CRC-32C of a decision's id,
//! the place what its record's sequence is beyond the segment's first; entries of ids ascend. The hash is BLAKE3
//! (`ContentHash::of`) of `augur sealed segment 1`, the magic, first and last sequence, the header's instant, the hash
//! of the sealed segment before, and the hashes of the raw blocks one behind the other: it depends on what was logged and
//! not on how it was compressed. The first segment of a log has zeros for the hash before.

mod check;
mod format;
mod lookup;
mod read;
mod write;

pub use check::{SealFault, Seals, check_seals};
pub use lookup::find_decision;

pub(crate) use format::Footer;
pub(crate) use read::{Unsealer, footer_at_end};
pub(crate) use write::{SEALING_SUFFIX, seal};

#[cfg(test)]
mod tests;
