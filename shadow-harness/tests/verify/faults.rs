//! Each fault gives its own answer and its own exit code.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use augur_decision::{DefinitionsSeal, ModelSource, PolicySnapshot, PolicySource, SourceFile};
use augur_decision_log::{Config, Log, Reader};
use augur_domain::{ContentHash, DecisionRecord, FeatureSet, ModelRef, Reason, ReasonCode};
use augur_feature_store::FeatureSchema;
use augur_models::Scorer;
use augur_models::scorer::Kind;
use augur_shadow_harness::{Error, Missing, Options, SnapshotSource, Stage, Verdict, VerifyReport, verify};

use crate::{copy, golden, replay, replay_on, segments};

fn damage(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(file).unwrap();
    change(&mut bytes);
    std::fs::write(file, bytes).unwrap();
}

/// Replays the golden decisions after `change` was made to each record.
fn replay_changed(change: impl Fn(&mut DecisionRecord)) -> VerifyReport {
    let dir = copy();
    rewrite(dir.path(), change);
    replay(dir.path())
}

/// Writes the golden log into `dir` anew after `change` was made to each record.
fn rewrite(dir: &Path, change: impl Fn(&mut DecisionRecord)) {
    let decisions = dir.join("decisions");
    std::fs::remove_dir_all(&decisions).unwrap();
    let (log, _) = Log::open(Config::new(&decisions)).unwrap();
    for item in Reader::open(&golden().join("decisions")).unwrap() {
        let (_, mut record) = item.unwrap();
        change(&mut record);
        let (told, answer) = channel();
        log.append(&record, move |outcome| told.send(outcome).unwrap()).unwrap();
        answer.recv().unwrap().unwrap();
    }
    log.close().unwrap();
}

#[test]
fn another_answer_is_shown_field_by_field() {
    let report = replay_changed(|record| {
        if record.sequence == 42 {
            record.decision.reasons.push(Reason::new(ReasonCode::Explored));
            let score = record.decision.scores.iter_mut().find_map(|outcome| outcome.score.as_mut());
            if let Some(score) = score {
                score.calibrated = f64::from_bits(score.calibrated.to_bits() + 1);
            }
        }
    });
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Different, 3));
    assert_eq!((report.records, report.equal, report.different), (300, 299, 1));
    let [difference] = &report.first_differences[..] else { panic!("{report}") };
    assert_eq!(difference.sequence, 42);
    let stages: Vec<_> = difference.fields.iter().map(|field| field.stage).collect();
    assert_eq!(stages, [Stage::Calibration, Stage::Explanation]);
    let text = report.to_string();
    assert!(text.starts_with("DIFFERENT: 1 of 300 decisions came out differently"), "{text}");
    assert!(text.contains("calibration: scores."), "{text}");
}

#[test]
fn what_was_measured_is_not_compared() {
    let report = replay_changed(|record| {
        record.observed.read_us += 1;
        record.request.clear();
    });
    assert_eq!((report.verdict, report.equal), (Verdict::Identical, 300));
}

#[test]
fn differences_are_counted_in_full_and_listed_in_part() {
    let report = replay_changed(|record| record.decision.channel = Arc::from("elsewhere"));
    assert_eq!(report.different, 300);
    let listed: Vec<_> = report.first_differences.iter().map(|difference| difference.sequence).collect();
    assert_eq!(listed, (1..=20).collect::<Vec<_>>());
    assert!(report.to_string().contains("differences (300, the first 20):"));
}

#[test]
fn other_inputs_give_other_answers() {
    let report =
        replay_changed(|record| record.inputs.features.values.iter_mut().for_each(|v| v.value += 1.0));
    assert_eq!(report.verdict, Verdict::Different);
    assert!(report.different > 100, "{report}");
    assert_eq!(report.first_differences[0].fields[0].stage, Stage::Score);
}

#[test]
fn a_flipped_bit_is_a_corrupted_record() {
    let dir = copy();
    let file = &segments(dir.path())[1];
    damage(file, |bytes| bytes[50_000] ^= 0x04);
    let report = replay(dir.path());
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Corrupt, 4));
    assert_eq!((report.records, report.equal, report.corrupt), (299, 299, 1), "{report}");
    let message = &report.first_faults[0].message;
    assert!(
        message.contains(file.to_str().unwrap()) && message.contains("does not match its checksum"),
        "{message}"
    );
    assert!(report.to_string().starts_with("CORRUPT: damaged places in the log: 1"), "{report}");
}

#[test]
fn an_absent_segment_is_a_gap() {
    let dir = copy();
    std::fs::remove_file(&segments(dir.path())[1]).unwrap();
    let report = replay(dir.path());
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Corrupt, 4));
    assert!(report.first_faults[0].message.contains("expected record 95, found record 188"), "{report}");
    assert_eq!(report.records, 300 - 93);

    let dir = copy();
    std::fs::remove_file(segments(dir.path()).last().unwrap()).unwrap();
    let report = replay(dir.path());
    assert_eq!(report.exit_code(), 4);
    assert!(
        report.first_faults[0].message.contains("expected record 280, found the end of the log"),
        "{report}"
    );
}

#[test]
fn a_truncated_tail_is_told_from_damage() {
    let dir = copy();
    damage(segments(dir.path()).last().unwrap(), |bytes| bytes.truncate(bytes.len() - 7));
    let report = replay(dir.path());
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Identical, 6));
    assert_eq!((report.records, report.equal), (299, 299));
    assert!(report.truncated_tail.as_ref().unwrap().bytes > 100);
    assert!(report.to_string().contains("of an unfinished record"), "{report}");

    // In the middle of the log the same cut is damage.
    let dir = copy();
    damage(&segments(dir.path())[0], |bytes| bytes.truncate(bytes.len() - 30));
    let report = replay(dir.path());
    assert_eq!((report.verdict, report.exit_code(), report.records), (Verdict::Corrupt, 4, 299));
}

#[test]
fn a_later_version_is_no_verdict() {
    let dir = copy();
    damage(&segments(dir.path())[2], |bytes| {
        bytes[8] = 7;
        let crc = crc32c(&bytes[..28]).to_le_bytes();
        bytes[28..32].copy_from_slice(&crc);
    });
    let error = replay_on(dir.path(), 2).unwrap_err().to_string();
    assert!(error.contains("segment version 7 is not known"), "{error}");

    let dir = copy();
    damage(&segments(dir.path())[2], |bytes| {
        let length = u32::from_le_bytes(*bytes[32..].first_chunk().unwrap()) as usize;
        bytes[41] = 99;
        let covered = [&bytes[32..36], &bytes[40..41 + length]].concat();
        bytes[36..40].copy_from_slice(&crc32c(&covered).to_le_bytes());
    });
    let error = replay_on(dir.path(), 2).unwrap_err().to_string();
    let known = augur_decision_log::codec::RECORD_VERSION;
    let message = format!("record version 99 is not known; this program reads up to version {known}");
    assert!(error.contains(&message), "{error}");
}

#[test]
fn a_missing_policy_is_named() {
    let dir = copy();
    let mut policies: Vec<_> =
        std::fs::read_dir(dir.path().join("policies")).unwrap().map(|entry| entry.unwrap().path()).collect();
    policies.sort();
    std::fs::remove_dir_all(&policies[0]).unwrap();
    let report = replay(dir.path());
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Unverifiable, 5));
    assert_eq!(report.equal + report.unverifiable, 300);
    let id = policies[0].file_name().unwrap().to_str().unwrap();
    assert!(
        report.missing[0].message.contains(&format!("policy {id} cannot be used: cannot read")),
        "{report}"
    );
}

#[test]
fn an_edited_policy_is_not_taken_for_the_logged_one() {
    for file in ["policy.toml", "features.toml"] {
        let dir = copy();
        for entry in std::fs::read_dir(dir.path().join("policies")).unwrap() {
            let change = |bytes: &mut Vec<u8>| {
                let text = String::from_utf8(std::mem::take(bytes)).unwrap();
                *bytes = text.replace("\"30m\"", "\"31m\"").into_bytes();
            };
            damage(&entry.unwrap().path().join(file), change);
        }
        let report = replay(dir.path());
        assert_eq!((report.exit_code(), report.unverifiable), (5, 300), "{file}");
        assert!(report.missing[0].message.contains("they were changed"), "{report}");
    }
}

/// The log, as if its policies had always named a table that is switched off, which the text of `rows` gives.
fn log_with_tables(rows: &str) -> tempfile::TempDir {
    let dir = copy();
    let table = "\n[[table]]\nname = \"late\"\nfile = \"late.csv\"\nhit = \"first\"\nmode = \"off\"\nthen = \"allow\"\n\
                 actions = [\"none\"]\n";
    let mut ids = BTreeMap::new();
    for entry in std::fs::read_dir(dir.path().join("policies")).unwrap() {
        let old = entry.unwrap().path();
        let text = |name: &str| std::fs::read_to_string(old.join(name)).unwrap();
        let schema = FeatureSchema::parse("features.toml", &text("features.toml")).unwrap();
        std::fs::write(old.join("policy.toml"), text("policy.toml") + table).unwrap();
        std::fs::write(old.join("late.csv"), rows).unwrap();
        let file = |name: &str| SourceFile { name: name.to_owned(), text: text(name) };
        let read = |name: &str| Ok::<_, std::convert::Infallible>(Some(file(name)));
        let source = PolicySource::gather(file("policy.toml"), read).unwrap();
        let id = PolicySnapshot::load(&source, Arc::clone(schema.feature_set()), &NoModels).unwrap().id();
        ids.insert(old.file_name().unwrap().to_str().unwrap().parse::<ContentHash>().unwrap(), id);
        std::fs::rename(&old, old.with_file_name(id.to_string())).unwrap();
    }
    rewrite(dir.path(), |record| record.policy = *ids.get(&record.policy).unwrap());
    dir
}

#[test]
fn the_tables_of_a_policy_are_found_again_and_must_be_what_they_were() {
    let dir = log_with_tables("(now - now),reason\n< duration('1s'),LATE\n");
    let report = replay(dir.path());
    assert_eq!(report.missing, [], "{report}");
    for change in [None, Some("(now - now),reason\n< duration('2s'),LATE\n")] {
        for entry in std::fs::read_dir(dir.path().join("policies")).unwrap() {
            let file = entry.unwrap().path().join("late.csv");
            match change {
                Some(text) => std::fs::write(&file, text).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
        }
        let report = replay(dir.path());
        let expected = if change.is_some() { "they were changed" } else { "there is no file `late.csv`" };
        assert_eq!((report.exit_code(), report.unverifiable), (5, 300));
        assert!(report.missing[0].message.contains(expected), "{report}");
    }
}

/// A registry without models.
struct NoModels;

impl ModelSource for NoModels {
    fn scorer(
        &self,
        _: &str,
        _: &str,
        _: Kind,
        _: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        Ok(None)
    }
}

/// A log from before a release that reckons a feature differently: same texts, other feature set, other policy id.
fn log_of_other_meaning(seal_covers: &str) -> tempfile::TempDir {
    let dir = copy();
    let other = ContentHash::from_bytes([9; 32]);
    let mut ids = BTreeMap::new();
    for entry in std::fs::read_dir(dir.path().join("policies")).unwrap() {
        let old = entry.unwrap().path();
        let text = |name: &str| std::fs::read_to_string(old.join(name)).unwrap();
        let schema = FeatureSchema::parse("features.toml", &text("features.toml")).unwrap();
        let features = Arc::new(FeatureSet::new(other, schema.feature_set().features().to_vec()));
        let source = SourceFile { name: "policy.toml".to_owned(), text: text("policy.toml") };
        let id = PolicySnapshot::load(&source, features, &NoModels).unwrap().id();
        let seal = DefinitionsSeal::new(other, &(text("features.toml") + seal_covers));
        std::fs::write(old.join(DefinitionsSeal::FILE), seal.to_string()).unwrap();
        ids.insert(old.file_name().unwrap().to_str().unwrap().parse::<ContentHash>().unwrap(), id);
        std::fs::rename(&old, old.with_file_name(id.to_string())).unwrap();
    }
    rewrite(dir.path(), |record| {
        record.policy = *ids.get(&record.policy).unwrap();
        if record.inputs.features.feature_set != ContentHash::default() {
            record.inputs.features.feature_set = other;
        }
    });
    dir
}

#[test]
fn a_changed_meaning_of_features_does_not_take_old_logs_away() {
    let report = replay(log_of_other_meaning("").path());
    assert_eq!(report.missing, [], "{report}");
    assert!(report.equal > 250, "{report}");

    let report = replay(log_of_other_meaning("# another text").path());
    assert_eq!(
        (report.exit_code(), report.unverifiable),
        (5, 300),
        "a seal of another text counts for nothing"
    );
}

#[test]
fn a_missing_or_changed_model_is_named() {
    let dir = copy();
    std::fs::remove_dir_all(dir.path().join("models")).unwrap();
    let report = replay(dir.path());
    assert_eq!((report.verdict, report.exit_code(), report.unverifiable), (Verdict::Unverifiable, 5, 300));
    assert!(report.missing[0].message.contains("there is no directory"), "{report}");
    assert!(!dir.path().join("models").exists(), "a replay creates nothing");

    let dir = copy();
    damage(&dir.path().join("models/churn/versions/000002.model"), |bytes| bytes[200] ^= 1);
    let report = replay(dir.path());
    assert_eq!((report.exit_code(), report.equal, report.unverifiable), (5, 100, 200));
    assert_eq!(report.missing.iter().map(|missing| missing.first_sequence).collect::<Vec<_>>(), [101]);
    assert!(report.missing[0].message.contains("model `churn` version 2"), "{report}");
}

#[test]
fn the_worst_finding_decides() {
    let dir = copy();
    std::fs::remove_dir_all(dir.path().join("models/conversion")).unwrap();
    damage(&segments(dir.path())[0], |bytes| bytes[5_000] ^= 1);
    damage(segments(dir.path()).last().unwrap(), |bytes| bytes.truncate(bytes.len() - 1));
    let report = replay(dir.path());
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Corrupt, 4));
    assert!(report.unverifiable > 0 && report.truncated_tail.is_some());
}

#[test]
fn nothing_to_verify_is_said_so() {
    let dir = copy();
    segments(dir.path()).iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let report = replay(dir.path());
    assert_eq!((report.verdict, report.exit_code(), report.records), (Verdict::Empty, 7, 0));
    assert!(report.to_string().starts_with("NOTHING TO VERIFY"), "{report}");
    // The beginning of the first record is no record either.
    let first = std::fs::read(&segments(&golden())[0]).unwrap();
    std::fs::write(dir.path().join("decisions/000000000001.log"), &first[..200]).unwrap();
    let report = replay(dir.path());
    assert_eq!(
        (report.verdict, report.exit_code(), report.truncated_tail.is_some()),
        (Verdict::Empty, 7, true)
    );
    std::fs::remove_dir_all(dir.path().join("decisions")).unwrap();
    assert!(matches!(replay_on(dir.path(), 2), Err(Error::Log(_))));
    let data = augur_shadow_harness::DataDirectory::new(dir.path());
    let asked = Options { threads: 1_000, ..Options::default() };
    assert!(matches!(verify(dir.path(), &data, asked), Err(Error::TooManyThreads { .. })));
}

/// A source with a bug.
struct Panicking;

impl SnapshotSource for Panicking {
    #[expect(clippy::panic, reason = "what it is for")]
    fn snapshot(&self, _: ContentHash, _: &[(Arc<str>, ModelRef)]) -> Result<PolicySnapshot, Missing> {
        panic!("a bug of the source")
    }
}

#[test]
fn threads_that_die_end_the_replay() {
    // More records than wait for two threads, so that reading has to notice.
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Config::new(dir.path())).unwrap();
    let (_, record) = Reader::open(&golden().join("decisions")).unwrap().next().unwrap().unwrap();
    for _ in 0..4_000 {
        while log.append(&record, |_| ()).is_err() {
            std::thread::yield_now();
        }
    }
    log.close().unwrap();
    for threads in [1, 2] {
        let outcome = verify(dir.path(), &Panicking, Options { threads, ..Options::default() });
        assert!(matches!(outcome, Err(Error::ThreadDied)), "{outcome:?}");
    }
}

/// CRC-32C bit by bit, so that a test can forge what only a later version would write.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
