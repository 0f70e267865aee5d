//! `augur user`: who is who, and what a person may ask for about their own data, through a running server.
//!
//! Not here: what erasing reaches (`augur_feature_store`).

mod linking;

use augur_loadtest::{Client, v1};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::output::{Output, table};
use crate::{Error, Outcome};

/// Show which ids are one person, link and unlink them, and erase users.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Remove everything that the feature store holds about a user, and refuse the user's events from then on.
    ///
    /// There is no way back. Channels that the person suppressed stay suppressed unless `--forget-opt-outs`. The receipt lists every store and what was removed from it; the decision log and backups
    /// are not reached.
    #[command(
        after_help = "Example:\n  augur user erase --user-id u-1 --endpoint http://127.0.0.1:7401 --yes"
    )]
    Erase(Erase),
    /// Show the person that an id stands for, with all other ids.
    #[command(after_help = "Example:\n  augur user show --user-id u-1 --endpoint http://127.0.0.1:7401")]
    Show(Named),
    /// Make an id another name of a user: what is known under it becomes the user's.
    #[command(
        after_help = "Example:\n  augur user link --user-id u-1 --previous-id u-0 --endpoint http://127.0.0.1:7401"
    )]
    Link(linking::Link),
    /// Undo the link of an id: what came under it goes back to it.
    #[command(
        after_help = "Example:\n  augur user unlink --anonymous-id b-7 --endpoint http://127.0.0.1:7401"
    )]
    Unlink(Named),
    /// Take an erased user's events again, after a new consent. What was erased stays erased.
    #[command(after_help = "Example:\n  augur user readmit --user-id u-1 --endpoint http://127.0.0.1:7401")]
    Readmit(Named),
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    named: Named,
    /// Forget the channels that the person suppressed, too; unless asked for, they stay suppressed.
    #[arg(long)]
    forget_opt_outs: bool,
    /// Say that this is meant: what is erased is gone.
    #[arg(long, required = true)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    #[command(flatten)]
    whose: Whose,
    /// The running server.
    #[arg(long, value_name = "URL")]
    pub(super) endpoint: String,
}

#[derive(Debug, Args)]
#[group(id = "whose", required = true, multiple = false)]
struct Whose {
    /// The user's id, as events name it.
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Instead of it, the anonymous id.
    #[arg(long, value_name = "ID")]
    anonymous_id: Option<String>,
}

impl Named {
    pub(super) fn subject(&self) -> v1::Subject {
        let id = match (&self.whose.user_id, &self.whose.anonymous_id) {
            (Some(id), _) => Some(v1::subject::Id::UserId(id.clone())),
            (None, id) => id.clone().map(v1::subject::Id::AnonymousId),
        };
        v1::Subject { id }
    }
}

#[derive(Debug, Serialize)]
struct Receipt {
    user_key: String,
    erased_at: String,
    stores: Vec<Store>,
}

#[derive(Debug, Serialize)]
struct Store {
    store: String,
    erased: bool,
    records: u64,
    /// What stays, where something does.
    note: String,
}

#[derive(Debug, Serialize)]
struct Readmitted {
    was_erased: bool,
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Erase(args) => output.report(&super::block_on(erase(args))?, receipt_text)?,
        Command::Show(named) => {
            output.report(&super::block_on(linking::show(named))?, linking::person_text)?;
        }
        Command::Link(args) => {
            output.report(&super::block_on(linking::link(args))?, linking::linked_text)?;
        }
        Command::Unlink(named) => {
            output.report(&super::block_on(linking::unlink(named))?, linking::unlinked_text)?;
        }
        Command::Readmit(named) => {
            let readmitted = super::block_on(readmit(named))?;
            output.report(&readmitted, |readmitted| {
                if readmitted.was_erased {
                    "events of this user are taken again".to_owned()
                } else {
                    "nothing to do: this user was not erased".to_owned()
                }
            })?;
        }
    }
    Ok(Outcome::Fine)
}

async fn erase(args: &Erase) -> Result<Receipt, Error> {
    let Erase { named, forget_opt_outs, .. } = args;
    let client = Client::connect(&named.endpoint, 1).await?;
    let request = v1::EraseUserRequest { subject: Some(named.subject()), forget_opt_outs: *forget_opt_outs };
    let refused = |status| augur_loadtest::Error::call("PrivacyService/EraseUser", 0, &status);
    let answer = client.privacy().erase_user(request).await.map_err(refused)?.into_inner();
    let stores = answer.stores.into_iter();
    let stores =
        stores.map(|v1::ErasedStore { store, erased, records, note }| Store { store, erased, records, note });
    let erased_at = answer.erased_at.unwrap_or_default().to_string();
    Ok(Receipt { user_key: answer.user_key, erased_at, stores: stores.collect() })
}

async fn readmit(named: &Named) -> Result<Readmitted, Error> {
    let client = Client::connect(&named.endpoint, 1).await?;
    let request = v1::ReadmitUserRequest { subject: Some(named.subject()) };
    let refused = |status| augur_loadtest::Error::call("PrivacyService/ReadmitUser", 0, &status);
    let answer = client.privacy().readmit_user(request).await.map_err(refused)?.into_inner();
    Ok(Readmitted { was_erased: answer.was_erased })
}

fn receipt_text(receipt: &Receipt) -> String {
    let row = |store: &Store| {
        let removed = if store.erased { store.records.to_string() } else { "not reached".to_owned() };
        vec![store.store.clone(), removed]
    };
    let rows: Vec<Vec<String>> = receipt.stores.iter().map(row).collect();
    let notes = receipt.stores.iter().filter(|store| !store.note.is_empty());
    let notes = notes.map(|store| format!("  {}: {}\n", store.store, store.note));
    format!(
        "user {} is erased since {}\n{}{}",
        receipt.user_key,
        receipt.erased_at,
        table(&["store", "records removed"], &rows),
        notes.collect::<String>()
    )
}
