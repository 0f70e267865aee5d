//! Segments that are there are found, by the same bytes each time, and the artifact assigns what training assigned.

use augur_domain::feature::{FeatureInfo, FeatureStatus, FeatureValue};
use augur_domain::rng::{Purpose, Rng};
use augur_domain::{FeatureSet, FeatureVector, ValueType};
use proptest::prelude::*;

use super::*;
use crate::Scorer;
use crate::scorer::Kind;
use crate::train::{Row, Split};

fn table(columns: &[&str], rows: &[Vec<Option<f64>>]) -> TrainingTable {
    let mut table = TrainingTable::new(columns.iter().map(|name| (*name).to_owned()).collect()).unwrap();
    let time = Timestamp::from_unix_ms(0);
    for values in rows {
        table.push(&Row { values, label: false, group: 0, time, split: Split::Train }).unwrap();
    }
    table
}

/// Three groups of users around known places, of 300, 200 and 100 rows.
fn three_groups() -> TrainingTable {
    let mut rng = Rng::new(7, Purpose::Simulation);
    let mut rows = Vec::new();
    for (count, [visits, spend]) in [(300, [2.0, 0.0]), (200, [40.0, 5.0]), (100, [60.0, 900.0])] {
        for _ in 0..count {
            let mut near = |at: f64| at * (0.9 + 0.2 * rng.next_f64()) + rng.next_f64();
            rows.push(vec![Some(near(visits)), Some(near(spend)), Some(1.0)]);
        }
    }
    table(&["visits", "spend", "constant"], &rows)
}

fn options() -> SegmentOptions {
    SegmentOptions::new("value", ContentHash::default(), Timestamp::from_unix_ms(1_760_000_000_000))
}

fn found(table: &TrainingTable, options: &SegmentOptions) -> Segmented {
    segment(table, options, &mut |_| {}).unwrap()
}

/// The artifact's own answers for the rows of a table.
fn assigned(artifact: &Artifact, table: &TrainingTable) -> Vec<String> {
    let info = |name: &String| FeatureInfo {
        name: name.as_str().into(),
        value_type: ValueType::Number,
        description: "".into(),
        events: None,
        definition: ContentHash::default(),
        unit: "".into(),
    };
    let features = FeatureSet::new(ContentHash::default(), table.columns().iter().map(info).collect());
    let scorer = Scorer::new(artifact, &features).unwrap();
    assert_eq!(scorer.kind(), Kind::Segments);
    let mut vector = FeatureVector::not_found(&features);
    let answer = |row: StoredRow<'_>| {
        for (index, place) in vector.values.iter_mut().enumerate() {
            *place = match row.value(index) {
                Some(value) => FeatureValue { value, status: FeatureStatus::Present, ..*place },
                None => FeatureValue { value: 0.0, status: FeatureStatus::NullValue, ..*place },
            };
        }
        scorer.segment(&vector).unwrap().to_string()
    };
    table.rows().map(answer).collect()
}

#[test]
fn groups_are_found_and_named_by_size() {
    let table = three_groups();
    let found = found(&table, &SegmentOptions { count: Count::Auto, ..options() });
    let report = &found.report;
    let told: Vec<_> = report.clusters.iter().map(|of| (of.name.as_str(), of.rows)).collect();
    assert_eq!(told, [("s0", 300), ("s1", 200), ("s2", 100)]);
    assert_eq!(report.dropped, ["constant"]);
    assert!(report.silhouette > 0.7 && report.converged && report.warnings.is_empty(), "{report:?}");
    assert_eq!(report.counts_tried.len(), MAX_AUTO - 1);
    let [_, spend] = report.clusters[2].center.as_slice() else { panic!("{report:?}") };
    assert!((850.0..950.0).contains(spend), "{spend}");
    assert_eq!(report.features.len(), 2);
    assert!(report.features.iter().all(|feature| feature.importance > 0.9), "{report:?}");
    let answers = assigned(&found.artifact, &table);
    let count = |name: &str| answers.iter().filter(|answer| *answer == name).count();
    assert_eq!([count("s0"), count("s1"), count("s2")], [300, 200, 100]);
}

#[test]
fn segments_can_be_named_in_the_order_of_a_feature() {
    let names = ["low", "mid", "high"].map(str::to_owned).to_vec();
    let options =
        SegmentOptions { count: Count::Given(3), names, order_by: Some("spend".to_owned()), ..options() };
    let table = three_groups();
    let found = found(&table, &options);
    let told: Vec<_> = found.report.clusters.iter().map(|of| (of.name.as_str(), of.rows)).collect();
    assert_eq!(told, [("low", 300), ("mid", 200), ("high", 100)]);
    assert_eq!(assigned(&found.artifact, &table)[599], "high");
}

#[test]
fn the_same_table_and_options_give_the_same_bytes() {
    let (first, second) = (found(&three_groups(), &options()), found(&three_groups(), &options()));
    assert_eq!(first.artifact.encode(), second.artifact.encode());
    let other = found(&three_groups(), &SegmentOptions { seed: 43, ..options() });
    assert_ne!(first.artifact.id(), other.artifact.id());
}

#[test]
fn what_cannot_be_segmented_is_refused() {
    let refused = |table: &TrainingTable, options: SegmentOptions| {
        segment(table, &options, &mut |_| {}).unwrap_err().to_string()
    };
    let table = three_groups();
    let given = |count| SegmentOptions { count: Count::Given(count), ..options() };
    for (options, part) in [
        (given(1), "2 to 32"),
        (given(33), "2 to 32"),
        (SegmentOptions { names: vec!["a".to_owned()], ..options() }, "1 names for 4 segments"),
        (SegmentOptions { names: vec!["a".to_owned(); 2], ..given(2) }, "`a` twice"),
        (SegmentOptions { names: vec!["a".to_owned()], count: Count::Auto, ..options() }, "none with `auto`"),
        (SegmentOptions { order_by: Some("constant".to_owned()), ..options() }, "order-by"),
        (SegmentOptions { winsorise: 0.2, ..options() }, "winsorise"),
    ] {
        let error = refused(&table, options);
        assert!(error.contains(part), "{error}");
    }
    let two_places: Vec<_> = (0..40).map(|row| vec![Some(f64::from(row % 2))]).collect();
    let two_places = super::tests::table(&["a"], &two_places);
    assert!(refused(&two_places, given(3)).contains("different rows"));
    let constant = super::tests::table(&["a"], &vec![vec![Some(1.0)]; 40]);
    assert!(matches!(segment(&constant, &options(), &mut |_| {}), Err(Error::NothingToLearn { columns: 1 })));
    assert_eq!(found(&two_places, &given(2)).report.clusters[1].rows, 20);
}

#[test]
fn a_centre_without_rows_moves_to_the_row_farthest_away() {
    let matrix = Matrix { width: 1, values: vec![0.0, 0.1, 0.2, 9.0] };
    let fit = lloyd::settle(&matrix, vec![vec![0.0], vec![100.0], vec![200.0]]);
    assert!(fit.converged);
    let mut sizes: Vec<usize> = (0..3).map(|segment| rows_of(&fit, segment)).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 2]);
}

proptest! {
    #[test]
    fn any_table_is_segmented_or_refused(
        rows in prop::collection::vec(prop::collection::vec(prop::option::of(-1e12..1e12_f64), 3), 4..60),
        count in 2_usize..4,
    ) {
        let table = table(&["a", "b", "c"], &rows);
        let options = SegmentOptions { count: Count::Given(count), ..options() };
        if let Ok(found) = segment(&table, &options, &mut |_| {}) {
            let answers = assigned(&found.artifact, &table);
            for cluster in &found.report.clusters {
                let rows = answers.iter().filter(|answer| **answer == cluster.name).count();
                prop_assert_eq!(rows, cluster.rows);
            }
            prop_assert_eq!(Artifact::decode(&found.artifact.encode()).unwrap(), found.artifact);
        }
    }
}
