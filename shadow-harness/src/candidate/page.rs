//! The report as a page for people: the verdict on top, then what a reader asks next, with plots and their figures.
//!
//! Not here: the figures (`report`), or how a page and its plots are written (`augur_models::page`).

mod behaviour;
mod examples;
mod head;
mod models;
mod worth;

use augur_models::page::{self, Markup};

use super::report::CandidateReport;

impl CandidateReport {
    /// One self-contained HTML file. Every text of the report is escaped; the same report gives the same bytes.
    pub fn html(&self) -> String {
        let mut page = Markup::default();
        head::all(&mut page, self);
        behaviour::all(&mut page, self);
        models::all(&mut page, self);
        worth::all(&mut page, self);
        examples::all(&mut page, self);
        page::close(&mut page);
        page.finish()
    }
}

#[cfg(test)]
mod tests;
