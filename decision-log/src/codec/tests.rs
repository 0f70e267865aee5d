//! Round trips, strictness and golden bytes of the record format.

use std::sync::Arc;

use proptest::prelude::*;

use augur_domain::decision::Exposure;

use super::*;
use crate::samples::{
    any_record, full_record, record_in_time, record_of_today, record_on_trial, record_without_texts,
};

fn encoded(record: &DecisionRecord) -> Vec<u8> {
    let mut out = Vec::new();
    encode_record(record, &mut out);
    out
}

/// Equality that also holds for NaN: floats are compared by their bits, as replay compares them.
fn assert_same(left: &DecisionRecord, right: &DecisionRecord) {
    assert_eq!(encoded(left), encoded(right));
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}

proptest! {
    #[test]
    fn any_record_comes_back(record in any_record()) {
        let bytes = encoded(&record);
        assert_same(&decode_record(&bytes).unwrap(), &record);
    }

    #[test]
    fn any_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(record) = decode_record(&bytes) {
            prop_assert_eq!(encoded(&record), bytes);
        }
    }

    #[test]
    fn damaged_records_are_refused_or_canonical(
        record in any_record(), at in any::<prop::sample::Index>(), xor in 1_u8..,
    ) {
        let mut bytes = encoded(&record);
        let at = at.index(bytes.len());
        bytes[at] ^= xor;
        if let Ok(record) = decode_record(&bytes) {
            prop_assert_eq!(encoded(&record), bytes);
        }
    }

    #[test]
    fn every_cut_is_noticed(record in any_record(), at in any::<prop::sample::Index>()) {
        let bytes = encoded(&record);
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(decode_record(cut).is_err());
    }
}

#[test]
fn sections_are_what_the_parts_encode_to() {
    let record = full_record();
    let bytes = encoded(&record);
    let view = RecordView::parse(&bytes).unwrap();
    let (mut inputs, mut decision, mut models) = (Vec::new(), Vec::new(), Vec::new());
    encode_inputs(&record.inputs, &mut inputs);
    encode_decision(&record.decision, &mut decision);
    encode_models(&record.models, &mut models);
    assert_eq!(view.inputs_bytes(), inputs);
    assert_eq!(view.decision_bytes(), decision);
    assert_eq!(view.models_bytes(), models);
    assert_eq!(view.request(), record.request);
    assert_eq!(decode_inputs(8, &inputs).unwrap(), record.inputs);
    assert_eq!(decode_decision(&decision).unwrap(), record.decision);
    assert_eq!(decode_models(&models).unwrap(), record.models);
    assert_eq!(sequence_of(&bytes), Some(record.sequence));
}

#[test]
fn a_sequence_is_set_in_place() {
    let mut bytes = encoded(&full_record());
    set_sequence(&mut bytes, 77);
    assert_eq!(decode_record(&bytes).unwrap().sequence, 77);
}

#[test]
fn unknown_versions_and_numbers_are_named() {
    let mut bytes = encoded(&full_record());
    for unknown in [0, 11] {
        bytes[0] = unknown;
        let refused = decode_record(&bytes);
        assert!(
            matches!(refused, Err(Error::RecordVersion { found, supported: 10 }) if found == u16::from(unknown))
        );
    }

    let mut decision = Vec::new();
    encode_decision(&full_record().decision, &mut decision);
    let rung_at = 12 + "send_offer".len() + r#"{"discount":0.1}"#.len() + "email".len() + 1 + 16;
    decision[rung_at] = 9;
    let error = decode_decision(&decision).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("record byte {rung_at}: decision.rung: 9 is not known; expected a rung from 1 to 5")
    );
}

#[test]
fn what_no_encoder_writes_is_refused() {
    let mut bytes = encoded(&full_record());
    bytes.push(0);
    let message = decode_record(&bytes).unwrap_err().to_string();
    assert!(message.contains("1 bytes follow its end"), "{message}");

    // A count that promises more than the bytes can hold must not reserve memory for it.
    let models = u32::MAX.to_le_bytes();
    let message = decode_models(&models).unwrap_err().to_string();
    assert!(message.contains("4294967295 items do not fit into the 0 bytes"), "{message}");

    for bits in [f64::NAN.to_bits(), f64::INFINITY.to_bits(), (-0.0_f64).to_bits()] {
        let mut inputs = full_record().inputs;
        inputs.context = vec![(Arc::from("n"), augur_domain::Value::Number(Default::default()))];
        let mut bytes = Vec::new();
        encode_inputs(&inputs, &mut bytes);
        let value_at = 16 + 8 + 8 + 4 + inputs.decision_point.len() + 16 + 4 + 4 + 1 + 1;
        bytes[value_at..value_at + 8].copy_from_slice(&bits.to_le_bytes());
        let message = decode_inputs(8, &bytes).unwrap_err().to_string();
        assert!(message.contains("inputs.context"), "{message}");
    }
}

#[test]
fn instants_out_of_range_are_refused() {
    let record = full_record();
    let mut bytes = Vec::new();
    encode_inputs(&record.inputs, &mut bytes);
    bytes[16..24].copy_from_slice(&i64::MAX.to_le_bytes());
    let message = decode_inputs(8, &bytes).unwrap_err().to_string();
    assert!(
        message.starts_with("record byte 16: inputs.now: 9223372036854775807 ms is outside"),
        "{message}"
    );
}

/// The bytes of version 1 may never change: logs written today must be readable for ever.
#[test]
fn golden_bytes_of_version_1() {
    let golden = include_bytes!("../../testdata/v1/record.bin");
    let text = include_str!("../../testdata/v1/record.txt");
    assert_eq!(encoded(&record_without_texts()), golden);
    assert_eq!(format!("{:#?}\n", decode_record(golden).unwrap()), text);
}

#[test]
fn golden_bytes_of_version_2() {
    let golden = include_bytes!("../../testdata/v2/record.bin");
    let text = include_str!("../../testdata/v2/record.txt");
    assert_eq!(encoded(&full_record()), golden);
    assert_eq!(format!("{:#?}\n", decode_record(golden).unwrap()), text);
}

#[test]
fn golden_bytes_of_version_4() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v4");
    let golden = std::fs::read(dir.join("record.bin")).unwrap();
    let text = std::fs::read_to_string(dir.join("record.txt")).unwrap();
    assert_eq!(encoded(&record_on_trial()), golden);
    assert_eq!(format!("{:#?}\n", decode_record(&golden).unwrap()), text);
}

#[test]
fn golden_bytes_of_version_8() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v8");
    let golden = std::fs::read(dir.join("record.bin")).unwrap();
    let text = std::fs::read_to_string(dir.join("record.txt")).unwrap();
    assert_eq!(encoded(&record_of_today()), golden);
    assert_eq!(format!("{:#?}\n", decode_record(&golden).unwrap()), text);
}

#[test]
fn golden_bytes_of_version_10() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v10");
    let golden = std::fs::read(dir.join("record.bin")).unwrap();
    let text = std::fs::read_to_string(dir.join("record.txt")).unwrap();
    assert_eq!(encoded(&record_in_time()), golden);
    assert_eq!(format!("{:#?}\n", decode_record(&golden).unwrap()), text);
}

#[test]
fn the_time_left_makes_version_9_or_10_and_nothing_else_does() {
    for (older, version) in [(record_without_texts(), 9), (full_record(), 9), (record_on_trial(), 10)] {
        let mut timed = older.clone();
        timed.inputs.time_left_us = Some(0);
        let bytes = encoded(&timed);
        assert_eq!(bytes[0], version);
        assert_eq!(decode_record(&bytes).unwrap(), timed);
        let mut untimed = encoded(&older);
        untimed[0] = version;
        assert!(decode_record(&untimed).is_err());
    }
}

#[test]
fn what_version_4_cannot_hold_raises_the_version_by_four() {
    let (older, record) = (record_on_trial(), record_of_today());
    let of_inputs = DecisionRecord { inputs: record.inputs.clone(), ..older.clone() };
    let of_decision = DecisionRecord { decision: record.decision.clone(), ..older.clone() };
    for more in [of_inputs, of_decision] {
        let mut bytes = encoded(&more);
        assert_eq!((encoded(&older)[0], bytes[0]), (4, 8));
        assert_eq!(decode_record(&bytes).unwrap(), more);
        bytes[0] = 4;
        let message = decode_record(&bytes).unwrap_err().to_string();
        assert!(message.contains("follow its end"), "{message}");
    }
    let mut bytes = encoded(&older);
    bytes[0] = 8;
    let message = decode_record(&bytes).unwrap_err().to_string();
    assert!(message.contains("version 4 holds all of it"), "{message}");
}

#[test]
fn details_of_exposures_are_for_all_or_for_none() {
    let mut inputs = record_of_today().inputs;
    inputs.exposures.push(Exposure::new("call", "", inputs.now));
    let mut bytes = Vec::new();
    encode_inputs(&inputs, &mut bytes);
    assert_eq!(decode_inputs(8, &bytes).unwrap(), inputs);
    // The last one is (no category, no decision, no end).
    bytes.truncate(bytes.len() - (4 + 16 + 1));
    let count_at = bytes.len() - (4 + "offers".len() + 16 + 1 + 8) - 4;
    bytes[count_at] = 1;
    let message = decode_inputs(8, &bytes).unwrap_err().to_string();
    assert!(message.contains("1 items; expected none or one for each of 2"), "{message}");
}

#[test]
fn a_canary_raises_the_version_by_two_and_nothing_else() {
    let bare = record_without_texts();
    let on_trial = DecisionRecord { canary: record_on_trial().canary, ..bare.clone() };
    let (without, with) = (encoded(&bare), encoded(&on_trial));
    assert_eq!((without[0], with[0]), (1, 3));
    assert_eq!(with[1..without.len()], without[1..]);
    assert_eq!(decode_record(&with).unwrap(), on_trial);
    let mut unknown = with.clone();
    *unknown.last_mut().unwrap() = 3;
    let message = decode_record(&unknown).unwrap_err().to_string();
    assert!(message.contains("canary.arm: 3 is not known"), "{message}");
}

#[test]
fn texts_are_of_version_2_and_in_order() {
    let record = full_record();
    let mut inputs = Vec::new();
    encode_inputs(&record.inputs, &mut inputs);
    // Version 1 ends before the texts.
    let message = decode_inputs(1, &inputs).unwrap_err().to_string();
    assert!(message.contains("follow its end"), "{message}");
    let mut bare = Vec::new();
    encode_inputs(&record_without_texts().inputs, &mut bare);
    assert!(decode_inputs(2, &bare).is_err());
    bare.extend(0_u32.to_le_bytes());
    let message = decode_inputs(2, &bare).unwrap_err().to_string();
    assert!(message.contains("at least one text"), "{message}");
    for texts in [vec![(4, "b"), (3, "a")], vec![(3, "a"), (3, "a")], vec![(5, "beyond")]] {
        let mut wrong = record.clone();
        wrong.inputs.features.texts = texts.into_iter().map(|(slot, text)| (slot, Arc::from(text))).collect();
        let message = decode_record(&encoded(&wrong)).unwrap_err().to_string();
        assert!(message.contains("out of place"), "{message}");
    }
}

#[test]
#[ignore = "writes the golden files of a new record version; those of a published version may never change"]
fn write_golden_files() {
    let testdata = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let newest = testdata.join(format!("v{RECORD_VERSION}"));
    std::fs::create_dir_all(&newest).unwrap();
    std::fs::write(newest.join("record.bin"), encoded(&record_in_time())).unwrap();
    // What is read of older bytes may gain fields.
    for version in [1, 2, 4, 8, RECORD_VERSION] {
        let dir = testdata.join(format!("v{version}"));
        let bytes = std::fs::read(dir.join("record.bin")).unwrap();
        std::fs::write(dir.join("record.txt"), format!("{:#?}\n", decode_record(&bytes).unwrap())).unwrap();
    }
}
