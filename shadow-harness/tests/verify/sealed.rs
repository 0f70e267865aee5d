//! Sealed segments: the same verdict as of raw ones, by any number of threads, and without doing again what was done.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use augur_decision_log::{Config, Log, Reader};
use augur_shadow_harness::{DataDirectory, Error, Options, Verdict, VerifyReport, verify};

use crate::{copy, golden, replay_on, segments};

/// A copy of the golden directory, its log written again in small segments, all but the last of them sealed.
fn sealed() -> tempfile::TempDir {
    let dir = copy();
    let decisions = dir.path().join("decisions");
    std::fs::remove_dir_all(&decisions).unwrap();
    let (log, _) = Log::open(Config { segment_bytes: 16 * 1024, ..Config::new(&decisions) }).unwrap();
    for item in Reader::open(&golden().join("decisions")).unwrap() {
        let (told, answer) = channel();
        log.append(&item.unwrap().1, move |outcome| told.send(outcome).unwrap()).unwrap();
        answer.recv().unwrap().unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let files = || {
        std::fs::read_dir(&decisions).unwrap().filter(|entry| {
            entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "log")
        })
    };
    assert!(files().count() > 6);
    while log.stats().sealed_segments + 1 < files().count() as u64 {
        assert!(Instant::now() < deadline, "{:?}", log.stats());
        std::thread::yield_now();
    }
    log.close().unwrap();
    std::fs::remove_file(decisions.join("LOCK")).unwrap();
    dir
}

/// A report without what differs from run to run.
fn plain(report: VerifyReport) -> VerifyReport {
    VerifyReport { elapsed_ms: 0, records_per_second: 0.0, ..report }
}

fn resumed(dir: &Path, file: &Path) -> Result<VerifyReport, Error> {
    let data = DataDirectory::new(dir);
    let options = Options { threads: 2, resume: Some(file), ..Options::default() };
    verify(&data.decisions_dir(), &data, options)
}

#[test]
fn sealed_and_raw_segments_give_one_verdict_by_any_number_of_threads() {
    let dir = sealed();
    let raw = plain(replay_on(&golden(), 1).unwrap());
    assert_eq!(raw.verdict, Verdict::Identical);
    for threads in [1, 2, 3, 8] {
        assert_eq!(plain(replay_on(dir.path(), threads).unwrap()), raw, "{threads}");
    }
}

#[test]
fn damage_in_a_sealed_segment_is_placed_and_the_rest_replayed() {
    let dir = sealed();
    let segments = segments(dir.path());
    let mut bytes = std::fs::read(&segments[2]).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&segments[2], bytes).unwrap();
    std::fs::remove_file(&segments[4]).unwrap();
    let one = plain(replay_on(dir.path(), 1).unwrap());
    assert_eq!((one.verdict, one.corrupt), (Verdict::Corrupt, 2), "{one}");
    assert!(
        one.first_faults[0].message.contains(segments[2].file_name().unwrap().to_str().unwrap()),
        "{one}"
    );
    assert!(one.equal > 150 && one.equal < 300, "{one}");
    for threads in [2, 3] {
        assert_eq!(plain(replay_on(dir.path(), threads).unwrap()), one);
    }
}

#[test]
fn what_came_out_the_same_is_not_done_again() {
    let dir = sealed();
    let file = dir.path().join("verified.json");
    let whole = plain(resumed(dir.path(), &file).unwrap());
    assert_eq!(whole, plain(replay_on(dir.path(), 1).unwrap()));
    // Whatever is decided again now misses its policy.
    std::fs::rename(dir.path().join("policies"), dir.path().join("elsewhere")).unwrap();
    let again = resumed(dir.path(), &file).unwrap();
    assert_eq!((again.records, again.verdict), (300, Verdict::Unverifiable));
    let open_end = again.unverifiable;
    assert!(open_end > 0 && open_end < 100, "only the end is replayed: {again}");
    assert_eq!((again.actions, again.reasons, again.rungs), (whole.actions, whole.reasons, whole.rungs));

    // A segment that is not what it was is replayed again; here, one that is not sealed.
    let bytes = std::fs::read(segments(&golden())[0].clone()).unwrap();
    std::fs::write(&segments(dir.path())[0], bytes).unwrap();
    let again = resumed(dir.path(), &file).unwrap();
    assert!(again.unverifiable > open_end, "{again}");
}

#[test]
fn what_had_a_finding_is_done_again() {
    let dir = sealed();
    let file = dir.path().join("verified.json");
    std::fs::rename(dir.path().join("policies"), dir.path().join("elsewhere")).unwrap();
    assert_eq!(resumed(dir.path(), &file).unwrap().unverifiable, 300);
    std::fs::rename(dir.path().join("elsewhere"), dir.path().join("policies")).unwrap();
    assert_eq!(resumed(dir.path(), &file).unwrap().verdict, Verdict::Identical);
}

#[test]
fn a_file_that_is_not_ours_is_refused() {
    let dir = sealed();
    let file = dir.path().join("verified.json");
    for text in ["", "{}", "[1]", r#"{"version":9,"engine_version":1,"segments":{}}"#] {
        std::fs::write(&file, text).unwrap();
        let error = resumed(dir.path(), &file).unwrap_err();
        assert!(matches!(error, Error::ProgressFile { .. }), "{error}");
    }
    // Of another engine: everything is decided again.
    std::fs::write(&file, r#"{"version":1,"engine_version":99,"segments":{}}"#).unwrap();
    assert_eq!(resumed(dir.path(), &file).unwrap().verdict, Verdict::Identical);
}
