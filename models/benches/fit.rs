//! What a fit costs: ten thousand rows of forty columns, calibration over five folds and the report included.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::allow_attributes,
    reason = "criterion's macros; fixed input"
)]

use augur_domain::rng::{Purpose, Rng};
use augur_domain::{ContentHash, Timestamp, math};
use augur_models::train::{Options, Row, Split, TrainingTable, fit};
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};

const ROWS: usize = 10_000;
const COLUMNS: usize = 40;

fn table() -> TrainingTable {
    let names = (0..COLUMNS).map(|index| format!("feature_{index}")).collect();
    let mut table = TrainingTable::new(names).expect("names are valid");
    let mut rng = Rng::new(5, Purpose::Simulation);
    let mut values = vec![None; COLUMNS];
    for row in 0..ROWS {
        let mut margin = -1.0;
        for (index, value) in values.iter_mut().enumerate() {
            let drawn = rng.next_f64() * 10.0;
            margin += (drawn - 5.0) * 0.05 * (1.0 - index as f64 / COLUMNS as f64);
            // A tenth of the columns have gaps, and so an indicator of them.
            *value = (index % 10 != 0 || rng.next_f64() > 0.2).then_some(drawn);
        }
        let label = rng.next_f64() < math::sigmoid(margin);
        let split = if row < ROWS * 4 / 5 { Split::Train } else { Split::Test };
        let (group, time) = (rng.below(ROWS as u64 / 4), Timestamp::from_unix_ms(row as i64));
        table.push(&Row { values: &values, label, group, time, split }).expect("values are finite");
    }
    table
}

fn logistic(criterion: &mut Criterion) {
    let table = table();
    let options = Options::new("churn", "gone", ContentHash::from_bytes([1; 32]), Timestamp::MIN);
    let mut group = criterion.benchmark_group("fit");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("10k_rows_40_columns", |bencher| {
        bencher.iter(|| fit(&table, &options).expect("it converges"));
    });
    group.finish();
}

criterion_group!(benches, logistic);
criterion_main!(benches);
