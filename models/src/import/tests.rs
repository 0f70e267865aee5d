//! Parity with what the original libraries answered, kept in `models/testdata/import`, and what is refused.

use std::path::PathBuf;
use std::sync::Arc;

use augur_domain::decision::Score;
use augur_domain::feature::{FeatureInfo, FeatureStatus};
use augur_domain::{ContentHash, FeatureSet, FeatureVector, Timestamp, ValueType};
use proptest::prelude::*;

use super::*;
use crate::artifact::{Artifact, Content, Lineage};
use crate::scorer::Scorer;

const COLUMNS: [&str; 5] = ["views_7d", "spend_30d", "recency_h", "visits", "category"];

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/import").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).unwrap()
}

/// ONNX tensors have no names; LightGBM has its own.
fn names(name: &str) -> ColumnNames {
    let onnx = name.ends_with("onnx");
    let order = if onnx { COLUMNS.iter().map(|name| (*name).to_owned()).collect() } else { Vec::new() };
    ColumnNames { order, rename: BTreeMap::new() }
}

fn artifact(model: ForeignModel) -> Artifact {
    let content = Content {
        name: "imported".to_owned(),
        task: "imported".to_owned(),
        positive_class: "bought".to_owned(),
        feature_set: ContentHash::default(),
        body: model.body,
        calibrator: model.calibrator,
        lineage: Lineage {
            data: ContentHash::default(),
            seed: 0,
            parameters: String::new(),
            created_at: Timestamp::from_unix_ms(0),
            code_version: "0".to_owned(),
        },
        report: String::new(),
        reference: None,
    };
    let artifact = Artifact::new(content).unwrap();
    let read = Artifact::decode(&artifact.encode()).unwrap();
    assert_eq!(read, artifact);
    read
}

/// Our score, and the library's margin and probability, of every row.
fn scored(name: &str) -> Vec<(Score, Option<f64>, f64)> {
    let extension = if name.starts_with("onnx") { "onnx" } else { "txt" };
    let model = format!("{name}.{extension}");
    let artifact = artifact(read(&bytes(&model), &names(&model)).unwrap());
    let info = |name: &&str| FeatureInfo {
        name: Arc::from(*name),
        value_type: ValueType::Number,
        description: Arc::from(""),
        events: None,
        definition: ContentHash::default(),
        unit: "".into(),
    };
    let set = FeatureSet::new(ContentHash::default(), COLUMNS.iter().map(info).collect());
    let scorer = Scorer::new(&artifact, &set).unwrap();
    let mut rows = csv::Reader::from_path(file(&format!("{name}.csv"))).unwrap();
    let number = |text: &str| text.parse::<f64>().ok();
    rows.records()
        .map(|row| {
            let row = row.unwrap();
            let mut vector = FeatureVector::not_found(&set);
            for (slot, cell) in vector.values.iter_mut().zip(row.iter()) {
                slot.value = number(cell).unwrap_or(0.0);
                slot.status = if cell.is_empty() { FeatureStatus::NullValue } else { FeatureStatus::Present };
            }
            (scorer.score(&vector), number(&row[5]), number(&row[6]).unwrap())
        })
        .collect()
}

#[test]
fn lightgbm_margins_are_equal_to_the_bit() {
    for name in ["binary", "no-missing", "zero-missing", "categorical", "forest", "cross-entropy"] {
        let rows = scored(&format!("lightgbm-{name}"));
        assert!(rows.len() > 200, "{name}: {} rows", rows.len());
        for (row, (score, margin, probability)) in rows.into_iter().enumerate() {
            assert_eq!(score.margin.to_bits(), margin.unwrap().to_bits(), "{name}, row {row}");
            let relative = (score.calibrated - probability).abs() / probability;
            assert!(relative <= 1e-15, "{name}, row {row}: {} for {probability}", score.calibrated);
        }
    }
}

#[test]
fn onnx_rows_take_the_same_leaves() {
    // Single precision has seven digits; one row in a wrong leaf is out by far more.
    for name in ["boosted", "imputed-boosted", "histogram-boosted", "crafted", "forest", "logistic"] {
        let rows = scored(&format!("onnx-{name}"));
        assert!(rows.len() > 150, "{name}: {} rows", rows.len());
        for (row, (score, _, probability)) in rows.into_iter().enumerate() {
            let difference = (score.calibrated - probability).abs();
            assert!(difference <= 2e-6, "{name}, row {row}: {} for {probability}", score.calibrated);
        }
    }
}

#[test]
fn columns_are_renamed() {
    let rename = BTreeMap::from([("views_7d".to_owned(), "page_views_7d".to_owned())]);
    let model = read(&bytes("lightgbm-binary.txt"), &ColumnNames { order: Vec::new(), rename }).unwrap();
    let features: Vec<&str> = model.body.features().into_iter().map(|(name, _)| name).collect();
    assert!(features.contains(&"page_views_7d") && !features.contains(&"views_7d"), "{features:?}");
}

fn refusal(text: &str) -> String {
    read(text.as_bytes(), &ColumnNames::default()).unwrap_err().to_string()
}

#[test]
fn what_lightgbm_cannot_tell_is_refused_by_line() {
    let whole = String::from_utf8(bytes("lightgbm-binary.txt")).unwrap();
    for (from, to, told) in [
        ("num_class=1", "num_class=3", "line 3: `num_class=3`; expected 1:"),
        ("objective=binary sigmoid:1", "objective=regression", "line 7: objective `regression`"),
        ("objective=binary sigmoid:1", "objective=binary sigmoid:0", "line 7: `sigmoid:0`"),
        ("is_linear=0", "is_linear=1", "leaves are linear models"),
        ("end of trees", "", "the file is cut"),
        ("version=v4", "version=v9", "line 2: version `v9`"),
        ("leaf_value=", "leaf_value=nonsense ", "`leaf_value` has 13 values; expected 12 values"),
        ("left_child=", "left_child=99 ", "`left_child` has"),
        ("Tree=1\n", "Tree=7\n", "tree `7`; expected tree 1"),
        ("feature_names=", "feature_names=one_more ", "6 names"),
    ] {
        let error = refusal(&whole.replacen(from, to, 1));
        assert!(error.starts_with("LightGBM model, line ") && error.contains(told), "{from}: {error}");
    }
    let looped = whole.replacen("left_child=1", "left_child=0", 1);
    assert!(refusal(&looped).contains("descendant"), "{}", refusal(&looped));
}

#[test]
fn what_onnx_cannot_tell_is_refused_by_node() {
    let whole = bytes("onnx-crafted.onnx");
    let swap = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|window| window == from).unwrap();
        let mut changed = whole.clone();
        changed[at..at + to.len()].copy_from_slice(to);
        read(&changed, &names("onnx")).unwrap_err().to_string()
    };
    let error = swap(b"Scaler", b"Scalar");
    assert!(error.starts_with("ONNX model, node 0 (Scalar): cannot be scored here"), "{error}");
    let error = swap(b"BRANCH_LT", b"BRANCH_XX");
    assert!(error.contains("node 1 (TreeEnsembleRegressor): tree 1, node 0 has an unknown mode"), "{error}");
    let error = swap(b"Sigmoid", b"Softmax");
    assert!(error.contains("node 2 (Softmax)"), "{error}");
    let error = read(&whole, &ColumnNames::default()).unwrap_err().to_string();
    assert!(error.contains("column 0 of input `X` has no name"), "{error}");
    let error = read(b"not a model", &ColumnNames::default()).unwrap_err().to_string();
    assert!(error.starts_with("ONNX model, byte ") && error.contains("or a LightGBM model"), "{error}");
}

#[test]
fn no_cut_of_a_file_is_read_or_panics() {
    for name in ["lightgbm-categorical.txt", "onnx-logistic.onnx", "onnx-crafted.onnx"] {
        let whole = bytes(name);
        for length in (0..whole.len()).step_by(1 + whole.len() / 300) {
            // A LightGBM model is whole once `end of trees` is there; what follows says nothing about scores.
            let ended = whole[..length].windows(12).any(|window| window == b"end of trees");
            assert_eq!(read(&whole[..length], &names(name)).is_ok(), ended, "{name} cut at {length}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(noise in prop::collection::vec(any::<u8>(), 0..400), text: bool) {
        let head: &[u8] = if text { b"tree\n" } else { b"" };
        drop(read(&[head, &noise].concat(), &ColumnNames::default()));
    }

    #[test]
    fn changed_bytes_never_panic(at in 0_usize..30_000, to: u8, which in 0_usize..3) {
        let name = ["lightgbm-categorical.txt", "onnx-logistic.onnx", "onnx-crafted.onnx"][which];
        let mut changed = bytes(name);
        let length = changed.len();
        changed[at % length] = to;
        if let Ok(model) = read(&changed, &names(name)) {
            model.body.validate().unwrap();
        }
    }
}
