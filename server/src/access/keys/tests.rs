//! Keys open what they should and nothing else, their file is whole or refused, and its bytes stay readable.

use std::collections::BTreeMap;
use std::fs;

use augur_domain::time::DAY_MS;
use proptest::prelude::*;

use super::ring::KeyRing;
use super::*;
use crate::access::fault::Fault;
use crate::access::roles::Role;
use crate::files::Layout;

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_366_965_000);

fn later(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOW.unix_ms() + ms)
}

fn directory() -> (tempfile::TempDir, KeyFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = KeyFile::of(&Layout::new(dir.path().join("data"))).unwrap();
    (dir, file)
}

fn ring(file: &KeyFile) -> KeyRing {
    KeyRing::new(*file.hashing(), file.list().unwrap(), &BTreeMap::new())
}

fn decide() -> Roles {
    [Role::Decide].into_iter().collect()
}

#[test]
fn a_key_opens_until_it_expires_or_is_revoked() {
    let (_dir, file) = directory();
    let made = file.create("shop", decide(), Some(later(DAY_MS)), NOW).unwrap();
    let held = ring(&file);
    let principal = held.principal(&made.text, NOW).unwrap();
    assert_eq!((principal.name(), principal.roles()), ("key:shop", decide()));
    assert_eq!(held.principal(&made.text, later(DAY_MS)).unwrap_err(), Fault::ExpiredKey);
    assert_eq!(held.active(NOW), 1);
    file.revoke(&made.key.id(), NOW).unwrap();
    assert_eq!(ring(&file).principal(&made.text, NOW).unwrap_err(), Fault::RevokedKey);
    assert_eq!(file.revoke(&made.key.id(), later(1)).unwrap().revoked_at, Some(NOW), "again is as once");
}

#[test]
fn any_other_text_opens_nothing() {
    let (_dir, file) = directory();
    let made = file.create("shop", decide(), None, NOW).unwrap();
    let held = ring(&file);
    let text = &made.text;
    for index in 0..text.len() {
        let mut other = text.clone().into_bytes();
        other[index] = if other[index] == b'0' { b'1' } else { b'0' };
        assert!(held.principal(&String::from_utf8(other).unwrap(), NOW).is_err(), "byte {index}");
    }
    for other in ["", "augur_", &text[1..], &format!("{text}0"), &text.to_uppercase(), &"x".repeat(1 << 20)] {
        assert_eq!(held.principal(other, NOW).unwrap_err(), Fault::Malformed);
    }
    let (_other_dir, elsewhere) = directory();
    let foreign = KeyRing::new(*elsewhere.hashing(), file.list().unwrap(), &BTreeMap::new());
    assert_eq!(foreign.principal(text, NOW).unwrap_err(), Fault::UnknownKey, "hashes are of one directory");
}

#[test]
fn what_is_kept_does_not_open() {
    let (_dir, file) = directory();
    let made = file.create("shop", decide(), None, NOW).unwrap();
    let stored = fs::read_to_string(file.path()).unwrap();
    let secret = made.text.rsplit('_').next().unwrap();
    assert!(!stored.contains(secret) && !format!("{made:?}").contains(secret));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_rotation_keeps_both_keys_for_a_while_and_never_three() {
    let (_dir, file) = directory();
    let first = file.create("shop", decide(), Some(later(90 * DAY_MS)), NOW).unwrap();
    assert!(file.create("shop", decide(), None, NOW).unwrap_err().to_string().contains("rotate"));
    let at = later(80 * DAY_MS);
    let second = file.rotate(&first.key.id(), later(81 * DAY_MS), at).unwrap();
    assert_eq!(second.key.expires_at, Some(later(170 * DAY_MS)), "as long a life");
    let held = ring(&file);
    assert!(held.principal(&first.text, at).is_ok() && held.principal(&second.text, at).is_ok());
    assert_eq!(held.principal(&first.text, later(81 * DAY_MS)).unwrap_err(), Fault::ExpiredKey);
    let third = file.rotate(&second.key.id(), later(82 * DAY_MS), at).unwrap_err();
    assert!(third.to_string().contains("2 active keys already"), "{third}");
    file.rotate(&second.key.id(), later(90 * DAY_MS), later(82 * DAY_MS)).unwrap();
    let gone = file.rotate("000000000000", NOW, NOW).unwrap_err();
    assert!(gone.to_string().contains("augur keys list"), "{gone}");
}

#[test]
fn names_roles_and_ends_are_checked() {
    let (_dir, file) = directory();
    for name in ["", "a b", "a\nb", "\u{1b}[2J", &"x".repeat(65)] {
        assert!(file.create(name, decide(), None, NOW).is_err(), "{name:?}");
    }
    assert!(file.create("shop", Roles::NONE, None, NOW).is_err());
    assert!(file.create("shop", decide(), Some(NOW), NOW).is_err());
    assert!(Role::parse("decides").unwrap_err().contains("did you mean `decide`?"));
    assert_eq!(file.list().unwrap(), []);
}

#[test]
fn commands_at_once_lose_no_key() {
    let (_dir, file) = directory();
    std::thread::scope(|scope| {
        for index in 0..8 {
            let file = &file;
            scope.spawn(move || file.create(&format!("shop-{index}"), decide(), None, NOW).unwrap());
        }
    });
    assert_eq!(file.list().unwrap().len(), 8);
}

#[test]
fn last_uses_are_kept() {
    let (_dir, file) = directory();
    let made = file.create("shop", decide(), None, NOW).unwrap();
    let held = ring(&file);
    assert!(held.used().is_empty());
    held.principal(&made.text, NOW).unwrap();
    held.principal(&made.text, later(10)).unwrap();
    file.note_used(&held.used()).unwrap();
    assert_eq!(file.last_used().unwrap(), BTreeMap::from([(made.key.id(), NOW)]));
    let again = KeyRing::new(*file.hashing(), file.list().unwrap(), &held.used());
    assert_eq!(again.used(), held.used(), "what was not used again is not forgotten");
}

/// The bytes of version 1, for ever.
const GOLDEN: &str = "AUGURKEYS 1 41e405899c828ac4b4d98d2a2854ab5f099a6b8de7caa17c4a59d222f7f087d6
{\"id\":\"0102030405ff\",\"name\":\"shop\",\"roles\":[\"ingest\",\"decide\"],\"hash\":\"0707070707070707070707070707070707070707070707070707070707070707\",\"created_at_ms\":1795366965000,\"expires_at_ms\":1795453365000}
";

#[test]
fn the_file_is_read_as_it_was_written_first() {
    let (_dir, file) = directory();
    fs::create_dir_all(file.path().parent().unwrap()).unwrap();
    fs::write(file.path(), GOLDEN).unwrap();
    let [key] = <[ApiKey; 1]>::try_from(file.list().unwrap()).unwrap();
    assert_eq!((key.id(), &*key.name), ("0102030405ff".to_owned(), "shop"));
    assert_eq!(key.roles, [Role::Ingest, Role::Decide].into_iter().collect());
    assert_eq!(key.expires_at, Some(later(DAY_MS)));
    file.revoke("0102030405ff", NOW).unwrap();
    assert!(fs::read_to_string(file.path()).unwrap().contains("\"revoked_at_ms\":1795366965000"));
}

#[test]
fn a_key_has_one_hash_for_ever() {
    let hash = hash(&[7; 32], &[1, 2, 3, 4, 5, 6], &[9; 32]);
    assert_eq!(hash.to_hex().as_str(), "02caa32e654a48a6d6eda60fff5e8668e6946ca752d9c9f72b2c6b2aaab80131");
}

#[test]
fn every_flipped_bit_of_the_file_is_told() {
    let (_dir, file) = directory();
    file.create("shop", decide(), None, NOW).unwrap();
    let whole = fs::read(file.path()).unwrap();
    for index in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[index] ^= 1 << bit;
            fs::write(file.path(), bytes).unwrap();
            let told = file.list().unwrap_err().to_string();
            assert!(told.contains("make new keys"), "{told}");
        }
    }
    let extra = "{\"id\":\"0102030405ff\",\"name\":\"a\",\"roles\":[],\"hash\":\"00\",\"created_at_ms\":1,\"tenant\":\"t\"}\n";
    let text = format!("AUGURKEYS 1 {}\n{extra}", blake3::hash(extra.as_bytes()).to_hex());
    fs::write(file.path(), text).unwrap();
    assert!(file.list().unwrap_err().to_string().contains("unknown field `tenant`"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (_dir, file) = directory();
        fs::create_dir_all(file.path().parent().unwrap()).unwrap();
        fs::write(file.path(), &bytes).unwrap();
        let _ = file.list();
        let mut whole = format!("AUGURKEYS 1 {}\n", blake3::hash(&bytes).to_hex()).into_bytes();
        whole.extend(&bytes);
        fs::write(file.path(), whole).unwrap();
        let _ = file.list();
        let _ = file.last_used().unwrap();
    }
}
