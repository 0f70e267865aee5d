//! No change alters a historical decision unless the same commit has the approved differences.

use std::path::Path;

use augur_shadow_harness::DataDirectory;
use augur_shadow_harness::approved::Differences;

use crate::copy;

/// Asks for the file to be written anew.
const APPROVE: &str = "AUGUR_APPROVE";

fn differences(dir: &Path) -> Differences {
    let data = DataDirectory::new(dir);
    Differences::of(&data.decisions_dir(), &data, &|_| ()).unwrap()
}

#[test]
fn golden_decisions_differ_only_as_approved() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    for log in ["golden", "golden_newer"] {
        let (found, file) = (differences(&testdata.join(log)), testdata.join(format!("approved/{log}.diff")));
        if std::env::var_os(APPROVE).is_some() {
            std::fs::write(&file, found.to_text()).unwrap();
            continue;
        }
        let approved = std::fs::read_to_string(&file).unwrap();
        let unapproved = found.held_against(&approved);
        assert!(
            unapproved.is_nothing(),
            "{} decisions of `{log}` come out otherwise than {} says.\n\
             If this is not meant, mend the change: old policies must decide as before.\n\
             If it is meant, write the file anew with\n\n    \
             {APPROVE}=1 cargo test -p augur-shadow-harness --test verify approved\n\n\
             read what it says, and commit it together with the change and the reason for it.\n\
             not approved: {:#?}\nno longer so: {:#?}",
            unapproved.new.len() + unapproved.gone.len(),
            file.display(),
            unapproved.new.iter().take(5).collect::<Vec<_>>(),
            unapproved.gone.iter().take(5).collect::<Vec<_>>(),
        );
    }
}

/// A test that cannot fail holds nothing: a decision that was made otherwise is found, field by field.
#[test]
fn a_changed_policy_is_not_approved() {
    let dir = copy();
    assert_eq!(differences(dir.path()).count(), 0);
    let policies = std::fs::read_dir(dir.path().join("policies")).unwrap();
    for policy in policies.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).take(1) {
        std::fs::remove_dir_all(policy).unwrap();
    }
    let found = differences(dir.path());
    assert!(found.count() >= 100, "{}", found.count());
    let unapproved = found.held_against("");
    assert_eq!(unapproved.new.len() as u64, found.count());
    assert!(found.to_text().contains("cannot be used any more"));
}
