//! The rows of the ledger: one for each budget, one for each hold.
//!
//! Layouts, each sealed with magic `K` and version 1:
//! - `K` and the action's name: `since signed | count unsigned`
//! - `H` and the decision's 16 bytes: `user [16] | until signed | 0`, or `1 | action text | since signed` in place of the 0
//!
//! Not here: what they mean (`ledger`).

use std::sync::Arc;

use augur_domain::{DecisionId, Timestamp, UserKey};

use super::{Hold, Spend, Spent};
use crate::bytes::{put_signed, put_text, put_unsigned, seal, unseal};
use crate::error::DecodeError;

const MAGIC: u8 = b'K';
const VERSION: u8 = 1;
const SPENT_KEY: u8 = b'K';
const HOLD_KEY: u8 = b'H';

/// A row as it is read.
#[derive(Debug, PartialEq)]
pub(crate) enum Row {
    Spent(Arc<str>, Spent),
    Hold(DecisionId, Hold),
}

pub(super) fn spent_key(action: &str) -> Vec<u8> {
    [&[SPENT_KEY], action.as_bytes()].concat()
}

pub(super) fn hold_key(decision: DecisionId) -> Vec<u8> {
    [[HOLD_KEY].as_slice(), decision.as_bytes()].concat()
}

pub(super) fn encode_spent(spent: Spent) -> Vec<u8> {
    let mut out = Vec::new();
    seal(&mut out, MAGIC, VERSION, |out| {
        put_signed(out, spent.since.unix_ms());
        put_unsigned(out, spent.count);
    });
    out
}

pub(super) fn encode_hold(hold: &Hold) -> Vec<u8> {
    let mut out = Vec::new();
    seal(&mut out, MAGIC, VERSION, |out| {
        out.extend_from_slice(hold.user.as_bytes());
        put_signed(out, hold.until.unix_ms());
        out.push(u8::from(hold.spend.is_some()));
        if let Some(spend) = &hold.spend {
            put_text(out, &spend.action);
            put_signed(out, spend.since.unix_ms());
        }
    });
    out
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Row, DecodeError> {
    let invalid = || DecodeError::Invalid { field: "ledger key" };
    let (kind, name) = key.split_first().ok_or_else(invalid)?;
    let (_, mut reader) = unseal(value, MAGIC, VERSION)?;
    let row = match *kind {
        SPENT_KEY => {
            let action = std::str::from_utf8(name).map_err(|_| invalid())?;
            let since = Timestamp::from_unix_ms(reader.signed("budget since")?);
            Row::Spent(action.into(), Spent { since, count: reader.unsigned("budget count")? })
        }
        HOLD_KEY => {
            let decision = DecisionId::from_bytes(name.try_into().map_err(|_| invalid())?);
            let user = UserKey::from_bytes(reader.array("hold user")?);
            let until = Timestamp::from_unix_ms(reader.signed("hold until")?);
            let spend = match reader.byte("hold spends")? {
                0 => None,
                1 => Some(Spend {
                    action: reader.text("hold action")?.into(),
                    since: Timestamp::from_unix_ms(reader.signed("hold since")?),
                }),
                _ => return Err(DecodeError::Invalid { field: "hold spends" }),
            };
            Row::Hold(decision, Hold { user, until, spend })
        }
        _ => return Err(invalid()),
    };
    reader.finish()?;
    Ok(row)
}
