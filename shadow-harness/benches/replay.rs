//! How many decisions one core decides again in a second.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]

use std::path::Path;
use std::sync::mpsc::channel;

use augur_decision_log::{Config, Log, Reader};
use augur_shadow_harness::{DataDirectory, Options, Verdict, verify};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The golden decisions, over and over, as one log.
const COPIES: u64 = 200;

fn replay(criterion: &mut Criterion) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    let records: Vec<_> = Reader::open(&golden.join("decisions"))
        .expect("the golden log")
        .map(|item| item.expect("an intact record").1)
        .collect();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = Log::open(Config::new(dir.path())).expect("a new log");
    for _ in 0..COPIES {
        let (told, answers) = channel();
        for record in &records {
            let told = told.clone();
            log.append(record, move |outcome| drop(told.send(outcome))).expect("room");
        }
        drop(told);
        for answer in answers {
            answer.expect("a sequence");
        }
    }
    log.close().expect("a clean end");
    let data = DataDirectory::new(&golden);
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Elements(COPIES * records.len() as u64)).sample_size(10);
    for threads in [1, 2] {
        group.bench_function(format!("{threads} deciding threads"), |bencher| {
            bencher.iter(|| {
                let report = verify(dir.path(), &data, Options { threads, ..Options::default() });
                assert_eq!(report.expect("a verdict").verdict, Verdict::Identical);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, replay);
criterion_main!(benches);
