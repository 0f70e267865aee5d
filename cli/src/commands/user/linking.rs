//! `augur user show`, `link` and `unlink`: which ids stand for one person.
//!
//! Not here: what a link moves (`augur_feature_store`).

use augur_loadtest::{Client, v1};
use clap::Args;
use serde::Serialize;

use super::Named;
use crate::Error;
use crate::output::table;

#[derive(Debug, Args)]
pub(crate) struct Link {
    /// The user who gets another name.
    #[arg(long, value_name = "ID")]
    user_id: String,
    #[command(flatten)]
    other: OtherName,
    /// The running server.
    #[arg(long, value_name = "URL")]
    endpoint: String,
}

#[derive(Debug, Args)]
#[group(id = "other", required = true, multiple = false)]
struct OtherName {
    /// A former user id of the same person.
    #[arg(long, value_name = "ID")]
    previous_id: Option<String>,
    /// Instead of it, an anonymous id of the same person.
    #[arg(long, value_name = "ID")]
    anonymous_id: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Person {
    id_key: String,
    person_key: String,
    links: Vec<OtherId>,
}

#[derive(Debug, Serialize)]
struct OtherId {
    id_key: String,
    linked_to_key: String,
    since: String,
    by: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Changed {
    changed: bool,
    moved_events: u64,
}

pub(super) async fn show(named: &Named) -> Result<Person, Error> {
    let client = Client::connect(&named.endpoint, 1).await?;
    let request = v1::DescribePersonRequest { subject: Some(named.subject()) };
    let refused = |status| augur_loadtest::Error::call("IdentityService/DescribePerson", 0, &status);
    let answer = client.identity().describe_person(request).await.map_err(refused)?.into_inner();
    let links = answer.links.into_iter().map(|link| OtherId {
        by: by(link.by()),
        id_key: link.id_key,
        linked_to_key: link.linked_to_key,
        since: link.since.unwrap_or_default().to_string(),
    });
    Ok(Person { id_key: answer.id_key, person_key: answer.person_key, links: links.collect() })
}

pub(super) async fn link(args: &Link) -> Result<Changed, Error> {
    let client = Client::connect(&args.endpoint, 1).await?;
    let id = match (&args.other.previous_id, &args.other.anonymous_id) {
        (Some(id), _) => Some(v1::subject::Id::UserId(id.clone())),
        (None, id) => id.clone().map(v1::subject::Id::AnonymousId),
    };
    let request = v1::LinkIdRequest { user_id: args.user_id.clone(), id: Some(v1::Subject { id }) };
    let refused = |status| augur_loadtest::Error::call("IdentityService/LinkId", 0, &status);
    let answer = client.identity().link_id(request).await.map_err(refused)?.into_inner();
    Ok(Changed { changed: !answer.was_linked, moved_events: answer.moved_events })
}

pub(super) async fn unlink(named: &Named) -> Result<Changed, Error> {
    let client = Client::connect(&named.endpoint, 1).await?;
    let request = v1::UnlinkIdRequest { id: Some(named.subject()) };
    let refused = |status| augur_loadtest::Error::call("IdentityService/UnlinkId", 0, &status);
    let answer = client.identity().unlink_id(request).await.map_err(refused)?.into_inner();
    Ok(Changed { changed: answer.was_linked, moved_events: answer.moved_events })
}

const fn by(by: v1::LinkedBy) -> &'static str {
    match by {
        v1::LinkedBy::Unspecified => "unknown",
        v1::LinkedBy::Device => "device",
        v1::LinkedBy::Alias => "alias",
        v1::LinkedBy::Operator => "operator",
    }
}

pub(super) fn person_text(person: &Person) -> String {
    let row = |link: &OtherId| {
        vec![link.id_key.clone(), link.linked_to_key.clone(), link.since.clone(), link.by.to_owned()]
    };
    let rows: Vec<Vec<String>> = person.links.iter().map(row).collect();
    let linked = if person.id_key == person.person_key { "the person itself" } else { "linked" };
    if rows.is_empty() {
        return format!("person {} ({linked}), no other ids", person.person_key);
    }
    format!("person {} ({linked})\n{}", person.person_key, table(&["id", "linked to", "since", "by"], &rows))
}

pub(super) fn linked_text(changed: &Changed) -> String {
    if changed.changed {
        format!("linked; {} events moved", changed.moved_events)
    } else {
        "nothing to do: the two ids are one person already".to_owned()
    }
}

pub(super) fn unlinked_text(changed: &Changed) -> String {
    if changed.changed {
        format!("unlinked; {} events went back", changed.moved_events)
    } else {
        "nothing to do: the id is not linked".to_owned()
    }
}
