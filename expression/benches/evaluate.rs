//! What one rule of four terms costs, and twenty of them over one row, as a decision runs them.
//!
//! Not here: compiling, which happens once per policy.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a benchmark may fail loudly")]

use std::hint::black_box;

use augur_domain::ValueType;
use augur_expression::{Expression, Names, Operand, Row, Slot};
use criterion::{Criterion, criterion_group, criterion_main};

const RULE: &str = "features.f0 > 2.0 && scores.churn >= 0.7 && !(user.country in ['DE', 'FR']) \
                    && now - user.last_contact > duration('24h')";
const FEATURES: u32 = 40;
const CHURN: Slot = Slot(FEATURES);
const COUNTRY: Slot = Slot(FEATURES + 1);
const NOW: Slot = Slot(FEATURES + 2);
const LAST_CONTACT: Slot = Slot(FEATURES + 3);
const ROWS: usize = 256;

struct Table;

impl Names for Table {
    fn lookup(&self, path: &str) -> Option<(Slot, ValueType)> {
        match path {
            "scores.churn" => Some((CHURN, ValueType::Number)),
            "user.country" => Some((COUNTRY, ValueType::Text)),
            "now" => Some((NOW, ValueType::Timestamp)),
            "user.last_contact" => Some((LAST_CONTACT, ValueType::Timestamp)),
            _ => {
                let index: u32 = path.strip_prefix("features.f")?.parse().ok()?;
                (index < FEATURES).then_some((Slot(index), ValueType::Number))
            }
        }
    }

    fn known(&self) -> Vec<String> {
        Vec::new()
    }
}

struct Dense(Vec<Option<Operand<'static>>>);

impl Row for Dense {
    fn operand(&self, slot: Slot) -> Option<Operand<'_>> {
        self.0.get(slot.0 as usize).copied().flatten()
    }
}

/// Users of whom three quarters pass the rule; in the others the last term fails, so all four are always reached.
fn rows(missing: bool) -> Vec<Dense> {
    (0..ROWS as i64)
        .map(|user| {
            let now_ms = 1_795_366_965_000 + user;
            let hours = if user % 4 == 0 { 3 } else { 30 };
            let mut values: Vec<_> =
                (0..FEATURES).map(|_| Some(Operand::Number(3.0 + user as f64))).collect();
            values.push((!missing).then_some(Operand::Number(0.9)));
            values.push(Some(Operand::Text(if user % 2 == 0 { "US" } else { "AT" })));
            values.push(Some(Operand::Timestamp(now_ms)));
            values.push(Some(Operand::Timestamp(now_ms - hours * 3_600_000)));
            Dense(values)
        })
        .collect()
}

fn compile(source: &str) -> Expression {
    Expression::compile(source, &Table, ValueType::Boolean).expect("the rule is well-formed")
}

fn benchmark(criterion: &mut Criterion) {
    let rule = compile(RULE);
    for (name, rows) in [("one rule of 4 terms", rows(false)), ("one rule, a value missing", rows(true))] {
        let mut next = rows.iter().cycle();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| black_box(rule.evaluate(black_box(next.next().unwrap()))).as_boolean());
        });
    }
    let rules: Vec<_> =
        (0..20).map(|index| compile(&RULE.replace("f0", &format!("f{}", index * 2)))).collect();
    let rows = rows(false);
    let mut next = rows.iter().cycle();
    criterion.bench_function("20 such rules", |bencher| {
        bencher.iter(|| {
            let row = black_box(next.next().unwrap());
            rules.iter().filter(|rule| rule.evaluate(row).as_boolean() == Some(true)).count()
        });
    });
    criterion.bench_function("compile one rule", |bencher| bencher.iter(|| compile(black_box(RULE))));
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
