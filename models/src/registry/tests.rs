//! The registry on a real directory: order, history, damage, and many hands at once.

use std::fs;

use super::*;
use crate::artifact::tests::sample;

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_760_000_000_000 + second * 1_000)
}

fn card() -> Card {
    Card { published_by: "ada".to_owned(), published_at: at(0), notes: "first".to_owned() }
}

/// Artifacts that differ by their seed.
fn artifact(seed: u64) -> Artifact {
    let mut content = sample();
    content.lineage.seed = seed;
    Artifact::new(content).unwrap()
}

fn registry() -> (tempfile::TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path().join("deep/models")).unwrap();
    (dir, registry)
}

/// A registry with `count` versions of `churn`.
fn published(count: u64) -> (tempfile::TempDir, Registry) {
    let (dir, registry) = registry();
    for seed in 0..count {
        registry.publish("churn", &artifact(seed), &card()).unwrap();
    }
    (dir, registry)
}

#[test]
fn an_empty_registry_answers() {
    let (_dir, registry) = registry();
    assert!(registry.names().unwrap().is_empty());
    assert!(registry.versions("churn").unwrap().is_empty());
    assert!(registry.history("churn").unwrap().is_empty());
    assert_eq!(registry.resolve("churn", "champion").unwrap(), None);
    let error = registry.set_alias("churn", "champion", 1, "ada", "go", at(1)).unwrap_err();
    assert!(matches!(error, Error::UnknownModel { .. }), "{error}");
    let error = registry.rollback("churn", "champion", "ada", "back", at(1)).unwrap_err();
    assert_eq!(error.to_string(), "there is no model `churn`; there is none yet");
    let error = registry.set_canary("churn", &trial(1, 50_000)).unwrap_err();
    assert!(matches!(error, Error::UnknownModel { .. }), "{error}");
}

#[test]
fn versions_count_up_and_load_as_published() {
    let (_dir, registry) = published(12);
    let versions = registry.versions("churn").unwrap();
    assert_eq!(versions.iter().map(|model| model.version).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
    assert_eq!(registry.load(&versions[11]).unwrap(), artifact(11));
    assert_eq!(registry.names().unwrap(), ["churn"]);
    let found = registry.card("churn", 3).unwrap();
    assert_eq!((found.version, found.artifact, found.card), (3, artifact(2).id(), card()));
    assert_eq!(found.report["rows"], 10);
    assert!(matches!(registry.card("churn", 13), Err(Error::UnknownVersion { version: 13, newest: 12, .. })));
}

#[test]
fn publishing_the_same_bytes_again_is_the_same_version() {
    let (_dir, registry) = published(2);
    let later = Card { notes: "again".to_owned(), ..card() };
    assert_eq!(registry.publish("churn", &artifact(0), &later).unwrap().version, 1);
    assert_eq!(registry.versions("churn").unwrap().len(), 2);
    assert_eq!(registry.card("churn", 1).unwrap().card.notes, "first");
}

#[test]
fn names_that_would_leave_the_directory_are_refused() {
    let (_dir, registry) = registry();
    for name in ["", "..", "../x", "a/b", "Churn", "-x", "a b", &"x".repeat(65)] {
        let error = registry.publish(name, &artifact(0), &card()).unwrap_err();
        assert!(matches!(error, Error::InvalidName { kind: "model name", .. }), "{name}: {error}");
    }
    let error = registry.publish("conversion", &artifact(0), &card()).unwrap_err();
    assert!(matches!(error, Error::WrongModel { .. }), "{error}");
    let error = registry.resolve("churn", "Champion!").unwrap_err();
    assert!(matches!(error, Error::InvalidName { kind: "alias", .. }), "{error}");
}

#[test]
fn aliases_move_and_roll_back_step_by_step() {
    let (_dir, registry) = published(4);
    let champion = || registry.resolve("churn", "champion").unwrap().unwrap().version;
    for (second, version) in [(1, 1), (2, 2), (3, 2), (4, 3)] {
        registry.set_alias("churn", "champion", version, "ada", "better", at(second)).unwrap();
        registry.set_alias("churn", "shadow", 4, "bob", "try", at(second)).unwrap();
    }
    let roll_back = |second| registry.rollback("churn", "champion", "eve", "complaints", at(second));
    assert_eq!(roll_back(5).unwrap().version, 2);
    assert_eq!(roll_back(6).unwrap().version, 1);
    assert_eq!(champion(), 1);
    assert!(matches!(roll_back(7), Err(Error::NothingToRollBack { .. })));
    registry.set_alias("churn", "champion", 4, "ada", "fixed", at(8)).unwrap();
    assert_eq!(roll_back(9).unwrap().version, 1);
    // The other alias never moved, and a fresh registry on the same directory sees all of it.
    let reopened = Registry::open(registry.dir()).unwrap();
    let aliases = reopened.aliases("churn").unwrap();
    assert_eq!(
        aliases.iter().map(|(alias, to)| (alias.as_str(), to.version)).collect::<Vec<_>>(),
        [("champion", 1), ("shadow", 4)]
    );
    let last = reopened.history("churn").unwrap().pop().unwrap();
    assert_eq!((last.sequence, last.kind, last.who.as_str()), (12, ChangeKind::Rollback, "eve"));
    assert_eq!((last.why.as_str(), last.at, last.artifact), ("complaints", at(9), artifact(0).id()));
}

#[test]
fn the_history_line_is_pinned() {
    let (_dir, registry) = published(1);
    registry.set_alias("churn", "champion", 1, "ada", "it \"won\"", at(0)).unwrap();
    let text = fs::read_to_string(registry.history_path("churn")).unwrap();
    let hash = artifact(0).id();
    assert_eq!(
        text,
        format!(
            "{{\"sequence\":1,\"at_unix_ms\":1760000000000,\"kind\":\"set\",\"alias\":\"champion\",\"version\":1,\
             \"artifact\":\"{hash}\",\"who\":\"ada\",\"why\":\"it \\\"won\\\"\"}}\n"
        )
    );
}

#[test]
fn a_damaged_artifact_is_named_and_cannot_be_promoted() {
    let (_dir, registry) = published(2);
    let path = registry.model_path("churn", 2);
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let second = registry.versions("churn").unwrap()[1].clone();
    for error in [
        registry.load(&second).unwrap_err(),
        registry.set_alias("churn", "champion", 2, "ada", "go", at(1)).unwrap_err(),
    ] {
        match &error {
            Error::Corrupted { file, problem } => {
                assert_eq!(file, &path);
                assert!(problem.contains("checksum"), "{problem}");
            }
            other => panic!("{other}"),
        }
    }
    assert!(registry.history("churn").unwrap().is_empty());
    // A whole artifact in the wrong place is noticed by its hash.
    fs::write(&path, artifact(0).encode()).unwrap();
    assert!(matches!(registry.load(&second), Err(Error::Corrupted { file, .. }) if file == path));
    // The neighbour is untouched.
    assert!(registry.load(&registry.versions("churn").unwrap()[0]).is_ok());
}

#[test]
fn a_lost_card_loses_no_model() {
    let (_dir, registry) = published(1);
    fs::remove_file(registry.card_path("churn", 1)).unwrap();
    let model = registry.set_alias("churn", "champion", 1, "ada", "go", at(1)).unwrap();
    assert_eq!(registry.load(&model).unwrap(), artifact(0));
    assert!(matches!(registry.card("churn", 1), Err(Error::Corrupted { .. })));
}

#[test]
fn a_torn_append_does_not_count_and_is_cut_off_by_the_next() {
    let (_dir, registry) = published(2);
    registry.set_alias("churn", "champion", 1, "ada", "go", at(1)).unwrap();
    let path = registry.history_path("churn");
    let whole = fs::read(&path).unwrap();
    for torn_bytes in 1..whole.len() {
        let torn = [whole.as_slice(), &whole[..torn_bytes]].concat();
        // The very last byte is the newline: without it the line was never acknowledged.
        fs::write(&path, &torn[..torn.len().min(2 * whole.len() - 1)]).unwrap();
        assert_eq!(registry.history("churn").unwrap().len(), 1, "{torn_bytes}");
    }
    registry.set_alias("churn", "champion", 2, "ada", "go", at(2)).unwrap();
    let changes = registry.history("churn").unwrap();
    assert_eq!(changes.iter().map(|change| change.version).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_edited_history_is_refused_with_its_line() {
    let (_dir, registry) = published(2);
    for version in [1, 2] {
        registry.set_alias("churn", "champion", version, "ada", "go", at(version.into())).unwrap();
    }
    let path = registry.history_path("churn");
    let text = fs::read_to_string(&path).unwrap();
    let second_only = text.lines().nth(1).unwrap().to_owned() + "\n";
    for (broken, line) in [(second_only, "line 1"), (text.replacen("champion", "cham\npion", 1), "line 1")] {
        fs::write(&path, broken).unwrap();
        match registry.resolve("churn", "champion") {
            Err(Error::Corrupted { file, problem }) => {
                assert_eq!(file, path);
                assert!(problem.starts_with(line), "{problem}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_interrupted_publish_leaves_no_version() {
    let (_dir, registry) = published(1);
    // What a crash before the model's rename leaves behind.
    fs::write(registry.card_path("churn", 2), b"{").unwrap();
    fs::write(registry.model_path("churn", 2).with_extension("tmp"), b"AUGUR").unwrap();
    assert_eq!(registry.versions("churn").unwrap().len(), 1);
    let second = registry.publish("churn", &artifact(7), &card()).unwrap();
    assert_eq!((second.version, registry.load(&second).unwrap()), (2, artifact(7)));
    assert_eq!(registry.card("churn", 2).unwrap().artifact, second.artifact);
}

#[test]
fn many_writers_and_readers_at_once() {
    let (_dir, registry) = published(1);
    registry.set_alias("churn", "champion", 1, "ada", "start", at(0)).unwrap();
    std::thread::scope(|scope| {
        for writer in 1..=4_u64 {
            let registry = registry.clone();
            scope.spawn(move || {
                for round in 0..3 {
                    let model = registry.publish("churn", &artifact(writer * 10 + round), &card()).unwrap();
                    registry.set_alias("churn", "champion", model.version, "w", "race", at(1)).unwrap();
                }
            });
        }
        for _ in 0..2 {
            let registry = registry.clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    let model = registry.resolve("churn", "champion").unwrap().unwrap();
                    assert_eq!(registry.load(&model).unwrap().id(), model.artifact);
                }
            });
        }
    });
    let versions = registry.versions("churn").unwrap();
    assert_eq!(versions.iter().map(|model| model.version).collect::<Vec<_>>(), (1..=13).collect::<Vec<_>>());
    let mut hashes: Vec<_> = versions.iter().map(|model| model.artifact).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 13);
    assert_eq!(registry.history("churn").unwrap().len(), 13);
}

#[test]
fn versions_are_found_by_number_and_by_alias() {
    let (_dir, registry) = published(2);
    registry.set_alias("churn", "champion", 2, "ada", "go", at(1)).unwrap();
    assert_eq!(registry.find("churn", "1").unwrap().version, 1);
    assert_eq!(registry.find("churn", "champion").unwrap().version, 2);
    let error = registry.find("churn", "shadow").unwrap_err();
    assert!(error.to_string().contains("has no alias `shadow`"), "{error}");
    let told = registry.find("chrun", "champion").unwrap_err().to_string();
    assert_eq!(told, "there is no model `chrun`; there is `churn`");
    assert!(matches!(registry.find("churn", "9"), Err(Error::UnknownVersion { newest: 2, .. })));
}

#[test]
fn a_rollback_that_is_objected_to_moves_nothing() {
    let (dir, registry) = published(3);
    for version in 1..=3 {
        registry.set_alias("churn", "champion", version, "ada", "go", at(version.into())).unwrap();
    }
    let before: Vec<u32> =
        registry.previous("churn", "champion").unwrap().iter().map(|model| model.version).collect();
    assert_eq!(before, [2, 1]);
    let refused: Result<ModelRef, Error> =
        registry.rollback_if("churn", "champion", "ada", "back", at(9), |target| {
            Err(Error::NothingToRollBack { name: target.name.to_string(), alias: String::new() })
        });
    assert!(refused.is_err());
    assert_eq!(registry.resolve("churn", "champion").unwrap().unwrap().version, 3);
    // Whoever holds the version needs none of its files.
    fs::remove_file(dir.path().join("deep/models/churn/versions/000002.model")).unwrap();
    assert!(registry.rollback("churn", "champion", "ada", "back", at(9)).is_err());
    let back: Result<ModelRef, Error> =
        registry.rollback_if("churn", "champion", "ada", "back", at(10), |_| Ok(()));
    assert_eq!(back.unwrap().version, 2);
    assert_eq!(registry.history("churn").unwrap().len(), 4);
}

#[test]
fn a_version_is_described_and_compared() {
    let (_dir, registry) = registry();
    registry.publish("churn", &artifact(1), &card()).unwrap();
    let mut content = sample();
    {
        let (_, inputs) = crate::artifact::tests::linear(&mut content);
        inputs[0].definition = Some(ContentHash::from_bytes([5; 32]));
        inputs[1].feature = "sessions".to_owned();
    }
    content.lineage.parameters = r#"{"alpha":2.0}"#.to_owned();
    content.report =
        r#"{"out_of_time":{"roc_auc":0.8},"features":[{"feature":"sessions","importance":0.4}]}"#.to_owned();
    registry.publish("churn", &Artifact::new(content).unwrap(), &card()).unwrap();
    registry.set_alias("churn", "champion", 2, "ada", "better", at(1)).unwrap();

    let (first, second) = (registry.describe("churn", 1).unwrap(), registry.describe("churn", 2).unwrap());
    assert_eq!(second.aliases, ["champion"]);
    assert_eq!((&*second.moves[0].why, &*second.form), ("better", "linear"));
    assert_eq!(second.inputs[1].importance, Some(0.4));
    assert_eq!(first.inputs[0].weight, Some(-1.25));
    let told = serde_json::to_string(&second).unwrap();
    assert_eq!(serde_json::from_str::<Description>(&told).unwrap(), second);

    let difference = Difference::between(&first, &second);
    let changes: Vec<(&str, InputChange)> =
        difference.inputs.iter().map(|input| (input.feature.as_str(), input.change)).collect();
    assert_eq!(
        changes,
        [
            ("purchases_30d", InputChange::Redefined),
            ("is_member", InputChange::Removed),
            ("sessions", InputChange::Added)
        ]
    );
    assert_eq!(difference.metrics[0].values, (None, Some(0.8)));
    let names: Vec<&str> = difference.settings.iter().map(|setting| setting.name.as_str()).collect();
    assert_eq!(names, ["lineage.seed", "parameters.alpha"]);
    let same = Difference::between(&first, &first);
    assert!(same.same_artifact && same.settings.is_empty());
}

fn trial(version: u32, share_ppm: u32) -> CanaryChange<'static> {
    let promotion = Some(Promotion { after_ms: 60_000, min_decisions: 500 });
    CanaryChange { alias: "champion", version, share_ppm, promotion, who: "ada", why: "try", at: at(5) }
}

#[test]
fn a_canary_keeps_its_salt_as_its_share_grows_and_the_next_has_another() {
    let (_dir, registry) = published(3);
    let error = registry.set_canary("churn", &trial(2, 50_000)).unwrap_err();
    assert!(matches!(error, Error::UnknownAlias { .. }), "{error}");
    registry.set_alias("churn", "champion", 1, "ada", "first", at(1)).unwrap();
    assert!(matches!(registry.set_canary("churn", &trial(1, 50_000)), Err(Error::CanaryDecides { .. })));
    assert!(matches!(registry.set_canary("churn", &trial(2, 0)), Err(Error::NoCanary { .. })));
    assert!(matches!(registry.set_canary("churn", &trial(2, 1_000_001)), Err(Error::TooLarge { .. })));
    assert!(matches!(registry.set_canary("churn", &trial(9, 5)), Err(Error::UnknownVersion { .. })));
    assert_eq!(registry.canary("churn", "champion").unwrap(), None);

    registry.set_canary("churn", &trial(2, 50_000)).unwrap();
    let begun = registry.canary("churn", "champion").unwrap().unwrap();
    assert_eq!((begun.champion.version, begun.challenger.version, begun.share_ppm), (1, 2, 50_000));
    assert_eq!(begun.promotion, trial(2, 0).promotion);
    registry.set_canary("churn", &trial(2, 250_000)).unwrap();
    let grown = registry.canary("churn", "champion").unwrap().unwrap();
    assert_eq!((grown.salt, grown.share_ppm), (begun.salt, 250_000));
    let other = registry.set_canary("churn", &trial(3, 50_000));
    assert!(matches!(other, Err(Error::CanaryUnderWay { version: 2, .. })), "{other:?}");

    registry.set_canary("churn", &trial(2, 0)).unwrap();
    assert_eq!(registry.canary("churn", "champion").unwrap(), None);
    registry.set_canary("churn", &trial(2, 50_000)).unwrap();
    assert_ne!(registry.canary("churn", "champion").unwrap().unwrap().salt, begun.salt);
    let shares: Vec<u32> =
        registry.canary_history("churn").unwrap().iter().map(|line| line.share_ppm).collect();
    assert_eq!(shares, [50_000, 250_000, 0, 50_000]);
}

#[test]
fn a_canary_ends_when_its_alias_moves() {
    let (_dir, registry) = published(3);
    registry.set_alias("churn", "champion", 1, "ada", "first", at(1)).unwrap();
    registry.set_canary("churn", &trial(2, 50_000)).unwrap();
    registry.set_alias("churn", "shadow", 3, "ada", "another alias", at(2)).unwrap();
    registry.set_alias("churn", "champion", 1, "ada", "no move", at(2)).unwrap();
    assert!(registry.canary("churn", "champion").unwrap().is_some());
    registry.set_alias("churn", "champion", 2, "ada", "passed", at(3)).unwrap();
    assert_eq!(registry.canary("churn", "champion").unwrap(), None);
    // The champion that it was against is back, and the trial stays over.
    registry.rollback("churn", "champion", "ada", "back", at(4)).unwrap();
    assert_eq!(registry.canary("churn", "champion").unwrap(), None);
    let last = registry.canary_history("churn").unwrap().pop().unwrap();
    assert_eq!((last.share_ppm, last.champion, last.why.as_str()), (0, 2, "passed"));
}

#[test]
fn a_damaged_history_of_canaries_is_told_and_holds_no_alias_back() {
    let (dir, registry) = published(2);
    registry.set_alias("churn", "champion", 1, "ada", "first", at(1)).unwrap();
    registry.set_canary("churn", &trial(2, 50_000)).unwrap();
    let path = dir.path().join("deep/models/churn/canary.log");
    let whole = fs::read_to_string(&path).unwrap();
    // A line that was cut counts for nothing.
    fs::write(&path, format!("{whole}{}", &whole[..20])).unwrap();
    assert!(registry.canary("churn", "champion").unwrap().is_some());
    fs::write(&path, whole.replace("\"sequence\":1", "\"sequence\":2")).unwrap();
    let error = registry.canary("churn", "champion").unwrap_err();
    assert!(matches!(&error, Error::Corrupted { problem, .. } if problem.contains("line 1")), "{error}");
    registry.set_alias("churn", "champion", 2, "ada", "all the same", at(3)).unwrap();
}
