//! How long each stage of a training takes, on drawn rows of any number:
//!
//! ```text
//! cargo run --release -p augur-models --example fit_stages -- 100000 32 logistic
//! ```
//! One row in fifty is held back. Not here: repeated measurements (`benches/fit.rs`).
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::allow_attributes,
    reason = "a tool for one's own terminal"
)]

use std::time::Instant;

use augur_domain::rng::{Purpose, Rng};
use augur_domain::{ContentHash, Timestamp, math};
use augur_models::train::{Family, Options, Row, Split, TrainingTable, fit_with_progress};

fn table(rows: usize, columns: usize) -> TrainingTable {
    let names = (0..columns).map(|index| format!("feature_{index}")).collect();
    let mut table = TrainingTable::new(names).expect("names are valid");
    let mut rng = Rng::new(5, Purpose::Simulation);
    let mut values = vec![None; columns];
    for row in 0..rows {
        let mut margin = -1.0;
        for (index, value) in values.iter_mut().enumerate() {
            let drawn = rng.next_f64() * 10.0;
            margin += (drawn - 5.0) * 0.1 * (1.0 - index as f64 / columns as f64);
            *value = Some(drawn);
        }
        let label = rng.next_f64() < math::sigmoid(margin);
        let split = if row % 50 == 49 { Split::Test } else { Split::Train };
        let time = Timestamp::from_unix_ms(i64::from(split == Split::Test));
        table
            .push(&Row { values: &values, label, group: row as u64, time, split })
            .expect("values are finite");
    }
    table
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (rows, columns) = (number(0, 100_000), number(1, 32));
    let wanted = arguments.get(2).map_or("logistic", String::as_str);
    let family = Family::ALL.into_iter().find(|family| family.as_str() == wanted).expect("a family's name");
    let begun = Instant::now();
    let table = table(rows, columns);
    println!("{:>9.3} s  {rows} rows of {columns} columns drawn", begun.elapsed().as_secs_f64());
    let mut options = Options::new("churn", "gone", ContentHash::default(), Timestamp::MIN);
    options.family = Some(family);
    let (mut since, mut stage) = (Instant::now(), "columns measured".to_owned());
    let begun = Instant::now();
    let trained = fit_with_progress(&table, &options, &mut |step| {
        // Rounds and trees are parts of one stage.
        let next = step
            .split_once(": round")
            .or_else(|| step.split_once(": forest"))
            .map_or(step, |(stage, _)| stage);
        if next != stage {
            println!("{:>9.3} s  {stage}", since.elapsed().as_secs_f64());
            (since, stage) = (Instant::now(), next.to_owned());
        }
    })
    .expect("it can be fitted");
    println!("{:>9.3} s  {stage}, calibration and report", since.elapsed().as_secs_f64());
    println!("{:>9.3} s  together", begun.elapsed().as_secs_f64());
    if let Some(convergence) = &trained.report.convergence {
        println!("{} Newton steps, objective {:.6}", convergence.newton_steps, convergence.objective);
    }
}
