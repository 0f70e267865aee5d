//! Decisions in a data directory that no server uses.
//!
//! Every decision names its run and row in its record, so what a run that broke off had decided behind its last whole part
//! is found in the log. Not here: rows and parts (the module above).

use std::collections::HashMap;
use std::sync::Arc;

use augur_loadtest::domain::ContentHash;
use augur_loadtest::domain::ids::Subject;
use augur_server::{App, Question};
use indicatif::ProgressBar;

use super::parts::{Decided, Failed};
use super::rows::Asked;
use crate::Error;

/// Begins the request that a record of such a run keeps; the run and the row follow.
const MARK: &[u8] = b"augur decide\0";

/// One run in one directory.
pub(super) struct Offline {
    pub(super) app: Arc<App>,
    pub(super) point: String,
    pub(super) run: ContentHash,
    /// By row, what the run before had decided and not written down.
    pub(super) earlier: HashMap<u64, Decided>,
}

impl Offline {
    /// Notes what a run that broke off had decided behind row `behind`, from record `sequence` on.
    pub(super) fn find_earlier(&mut self, sequence: u64, behind: u64) -> Result<(), Error> {
        let mark = self.mark();
        let earlier = &mut self.earlier;
        self.app.decisions_marked(sequence, &mark, |rest, record| {
            let row = rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
            if let Some(row) = row.filter(|row| *row > behind) {
                earlier.entry(row).or_insert_with(|| Decided::of(row, String::new(), &record));
            }
        })?;
        Ok(())
    }

    fn mark(&self) -> Vec<u8> {
        [MARK, self.run.as_bytes()].concat()
    }

    /// Decides for a group of rows; what is known from earlier is not decided again.
    pub(super) async fn decide(
        &mut self,
        asked: Vec<Asked>,
        bar: &ProgressBar,
    ) -> Result<(Vec<Decided>, Vec<Failed>), Error> {
        let (mut decided, mut failed) = (Vec::with_capacity(asked.len()), Vec::new());
        let (mut questions, mut of_question) = (Vec::new(), Vec::new());
        for Asked { row, user, context } in asked {
            match (context, self.earlier.remove(&row)) {
                (_, Some(mut found)) => {
                    found.user = user;
                    decided.push(found);
                }
                (Err(fault), None) => failed.push(Failed::row(row, user, &fault)),
                (Ok(context), None) => {
                    questions.push(Question {
                        user: self.app.user_key(Subject::User(&user)),
                        decision_point: self.point.as_str().into(),
                        context,
                        asserted: augur_server::Asserted::default(),
                        bytes: [&self.mark()[..], &row.to_le_bytes()].concat(),
                        read_until: None,
                        peek: false,
                    });
                    of_question.push((row, user));
                }
            }
        }
        let mut broken = None;
        let mut of_question = of_question.into_iter();
        self.app
            .decide_for_each(questions, |made| {
                bar.inc(1);
                let Some((row, user)) = of_question.next() else { return };
                match made {
                    Ok(record) => decided.push(Decided::of(row, user, &record)),
                    Err(augur_server::Error::InvalidField(fault)) => {
                        failed.push(Failed::field(row, user, &fault));
                    }
                    // Not this row's fault: what comes next would fail likewise.
                    Err(error) => broken = broken.take().or(Some(error)),
                }
            })
            .await;
        broken.map_or(Ok((decided, failed)), |error| Err(error.into()))
    }
}
