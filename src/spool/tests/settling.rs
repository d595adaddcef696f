//! Settling: a receipt or a reason, nothing overwritten, and the same end from wherever a crash stopped it.

use super::super::Content;
use super::{Bench, content, names};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;

const RECEIPT: &str = "{\"version\": 1}";

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn an_applied_file_goes_and_its_receipt_comes() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "token");
    bench.spool.settle_applied(&[(&claim, RECEIPT.as_bytes())]).unwrap();
    // The claim's directory stays until the ledger has forgotten the claim.
    assert_eq!(names(&bench.claimed(claim.id())), Vec::<OsString>::new());
    bench.spool.close(&[&claim]).unwrap();
    bench.assert_nothing_claimed();
    assert_eq!(names(&bench.root().join("applied")), ["a.toml.json"]);
    assert_eq!(fs::read_to_string(bench.applied("a.toml.json")).unwrap(), RECEIPT);
    assert_eq!(mode(&bench.applied("a.toml.json")) & 0o007, 0);
    bench.spool.close(&[&claim]).unwrap();
}

#[test]
fn a_refused_file_lies_unchanged_beside_its_reason() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "token = \"x\"\r\n\0");
    fs::set_permissions(bench.claimed(claim.id()).join("a.toml"), Permissions::from_mode(0o666)).unwrap();
    bench.spool.settle_rejected(&claim, "1:1: no\n").unwrap();
    bench.assert_nothing_claimed();
    assert_eq!(names(&bench.root().join("rejected")), ["a.toml", "a.toml.reason"]);
    assert_eq!(fs::read_to_string(bench.rejected("a.toml")).unwrap(), "token = \"x\"\r\n\0");
    assert_eq!(fs::read_to_string(bench.rejected("a.toml.reason")).unwrap(), "1:1: no\n");
    for name in ["a.toml", "a.toml.reason"] {
        assert_eq!(mode(&bench.rejected(name)) & 0o007, 0, "{name} is for owner and group");
    }
}

#[test]
fn a_name_that_is_taken_gets_a_suffix() {
    let mut bench = Bench::new();
    for round in 0..3 {
        let claim = bench.claim("a.toml", "x");
        bench.spool.settle_applied(&[(&claim, format!("{round}").as_bytes())]).unwrap();
        bench.spool.close(&[&claim]).unwrap();
    }
    assert_eq!(names(&bench.root().join("applied")), ["a.toml.1.json", "a.toml.2.json", "a.toml.json"]);
    for (name, content) in [("a.toml.json", "0"), ("a.toml.1.json", "1"), ("a.toml.2.json", "2")] {
        assert_eq!(fs::read_to_string(bench.applied(name)).unwrap(), content);
    }

    // A file without a reason and a reason without a file: both names are taken, whoever put them there.
    fs::write(bench.rejected("a.toml"), "old").unwrap();
    fs::write(bench.rejected("a.toml.1.reason"), "old").unwrap();
    fs::create_dir(bench.rejected("a.toml.2")).unwrap();
    std::os::unix::fs::symlink("nowhere", bench.rejected("a.toml.3")).unwrap();
    let claim = bench.claim("a.toml", "new");
    bench.spool.settle_rejected(&claim, "new").unwrap();
    assert_eq!(fs::read_to_string(bench.rejected("a.toml")).unwrap(), "old");
    assert_eq!(fs::read_to_string(bench.rejected("a.toml.1.reason")).unwrap(), "old");
    assert_eq!(fs::read_to_string(bench.rejected("a.toml.4")).unwrap(), "new");
    assert_eq!(fs::read_to_string(bench.rejected("a.toml.4.reason")).unwrap(), "new");
    bench.assert_nothing_claimed();
}

#[test]
fn a_name_too_long_for_an_ending_is_shortened_between_characters() {
    let mut bench = Bench::new();
    let ascii = OsString::from(format!("{}.toml", "x".repeat(250)));
    let cyrillic = OsString::from(format!("{}.toml", "ы".repeat(125)));
    let latin = OsString::from_vec([&[0xe9; 250][..], b".toml"].concat());
    for name in [&ascii, &cyrillic, &latin] {
        for _ in 0..2 {
            let claim = bench.claim(name, "x");
            bench.spool.settle_applied(&[(&claim, RECEIPT.as_bytes())]).unwrap();
            bench.spool.close(&[&claim]).unwrap();
            let claim = bench.claim(name, "x");
            bench.spool.settle_rejected(&claim, "no").unwrap();
        }
    }
    bench.assert_nothing_claimed();
    let (applied, rejected) = (names(&bench.root().join("applied")), names(&bench.root().join("rejected")));
    assert_eq!((applied.len(), rejected.len()), (6, 12));
    assert!(applied.iter().all(|name| name.as_bytes().ends_with(b".json")), "{applied:?}");
    let readable = |names: &[OsString]| names.iter().filter(|name| name.to_str().is_some()).count();
    assert_eq!((readable(&applied), readable(&rejected)), (4, 8), "no character is cut in two");
}

/// Every state that a crash can leave of a claim that is in the ledger.
#[test]
fn an_interrupted_receipt_is_finished() {
    for files in [
        &[("a.toml", "token")][..],
        &[("a.toml", "token"), ("a.toml.json", "")],
        &[("a.toml", "token"), ("a.toml.json", "{\"ver")],
        &[("a.toml", "token"), ("a.toml.json", RECEIPT)],
        &[("a.toml.json", RECEIPT)],
    ] {
        let bench = Bench::new();
        fs::write(bench.applied("a.toml.json"), "another file's").unwrap();
        let claim = bench.leftover(files);
        assert_eq!(claim.name(), "a.toml", "{files:?}");
        bench.spool.settle_applied(&[(&claim, RECEIPT.as_bytes())]).unwrap();
        bench.spool.close(&[&claim]).unwrap();
        bench.assert_nothing_claimed();
        assert_eq!(names(&bench.root().join("applied")), ["a.toml.1.json", "a.toml.json"], "{files:?}");
        assert_eq!(fs::read_to_string(bench.applied("a.toml.1.json")).unwrap(), RECEIPT);
        assert_eq!(fs::read_to_string(bench.applied("a.toml.json")).unwrap(), "another file's");
    }
}

/// Several end together, each from where a crash stopped it.
#[test]
fn interrupted_receipts_are_finished_together() {
    let mut bench = Bench::new();
    let claims: Vec<_> =
        ["a.toml", "b.toml", "c.toml", "d.toml"].map(|name| bench.claim(name, "token")).into();
    let directory = |at: usize| bench.claimed(claims[at].id());
    fs::write(directory(0).join("a.toml.json"), "{\"ver").unwrap();
    fs::write(directory(1).join("b.toml.json"), RECEIPT).unwrap();
    fs::remove_file(directory(1).join("b.toml")).unwrap();
    fs::write(bench.applied("c.toml.json"), RECEIPT).unwrap();
    fs::remove_file(directory(2).join("c.toml")).unwrap();
    let claims = bench.spool.leftovers().unwrap();
    let ended: Vec<_> = claims.iter().map(|claim| (claim, RECEIPT.as_bytes())).collect();
    bench.spool.settle_applied(&ended).unwrap();
    bench.spool.settle_applied(&ended).unwrap();
    bench.spool.close(&claims.iter().collect::<Vec<_>>()).unwrap();
    bench.assert_nothing_claimed();
    let receipts = names(&bench.root().join("applied"));
    assert_eq!(receipts, ["a.toml.json", "b.toml.json", "c.toml.json", "d.toml.json"]);
    for receipt in receipts {
        assert_eq!(fs::read_to_string(bench.applied(receipt)).unwrap(), RECEIPT);
    }
}

/// The receipt was in its place: a second one would count a file twice.
#[test]
fn a_receipt_that_was_placed_is_not_written_again() {
    let bench = Bench::new();
    fs::write(bench.applied("a.toml.json"), RECEIPT).unwrap();
    let claim = bench.leftover(&[]);
    bench.spool.settle_applied(&[(&claim, RECEIPT.as_bytes())]).unwrap();
    bench.spool.close(&[&claim]).unwrap();
    bench.assert_nothing_claimed();
    assert_eq!(names(&bench.root().join("applied")), ["a.toml.json"]);
}

#[test]
fn a_long_name_survives_an_interruption() {
    let mut bench = Bench::new();
    let name = format!("{}.toml", "x".repeat(250));
    let claim = bench.claim(&name, "token");
    let shortened = format!("{}.json", &name[..239]);
    fs::write(bench.claimed(claim.id()).join(&shortened), RECEIPT).unwrap();
    fs::remove_file(bench.claimed(claim.id()).join(&name)).unwrap();
    let leftover = bench.spool.leftovers().unwrap().remove(0);
    bench.spool.settle_applied(&[(&leftover, RECEIPT.as_bytes())]).unwrap();
    bench.spool.close(&[&leftover]).unwrap();
    assert_eq!(names(&bench.root().join("applied")), [shortened.as_str()]);
}

/// Every state that a crash can leave of a refused claim, while the file is still with it.
#[test]
fn an_interrupted_refusal_starts_again() {
    for files in [
        &[("a.toml", "token")][..],
        &[("a.toml", "token"), ("a.toml.reason", "1:")],
        &[("a.toml", "token"), ("a.toml.1.reason", "1:1: no")],
    ] {
        let bench = Bench::new();
        let claim = bench.leftover(files);
        assert_eq!(content(&claim), "token", "{files:?}");
        bench.spool.settle_rejected(&claim, "1:1: no").unwrap();
        bench.assert_nothing_claimed();
        assert_eq!(names(&bench.root().join("rejected")), ["a.toml", "a.toml.reason"], "{files:?}");
        assert_eq!(fs::read_to_string(bench.rejected("a.toml.reason")).unwrap(), "1:1: no");
    }
}

#[test]
fn a_reason_whose_file_has_moved_follows_it() {
    for name in ["a.toml", "a.toml.1"] {
        let bench = Bench::new();
        fs::write(bench.rejected(name), "token").unwrap();
        let claim = bench.leftover(&[(&format!("{name}.reason"), "1:1: no")]);
        assert!(matches!(claim.read(10).unwrap(), Content::Gone));
        bench.spool.settle_gone(&claim).unwrap();
        bench.assert_nothing_claimed();
        assert_eq!(names(&bench.root().join("rejected")), [name, &format!("{name}.reason")]);
    }
}

/// It was about to be refused when the run died, and by now what it asks for is in order.
#[test]
fn a_reason_that_was_overtaken_goes_with_the_file() {
    let bench = Bench::new();
    let claim = bench.leftover(&[("a.toml", "token"), ("a.toml.reason", "1:1: no")]);
    bench.spool.settle_applied(&[(&claim, RECEIPT.as_bytes())]).unwrap();
    bench.spool.close(&[&claim]).unwrap();
    bench.assert_nothing_claimed();
    assert_eq!(names(&bench.root().join("applied")), ["a.toml.json"]);
    assert_eq!(names(&bench.root().join("rejected")), Vec::<OsString>::new());
}

/// One leftover that cannot be settled would hold up every file after it.
#[test]
fn a_reason_whose_place_was_taken_meanwhile_holds_nothing_up() {
    let long = "x".repeat(239);
    for (name, beside) in
        [("a.toml", "a.toml.1.reason".to_owned()), (&format!("{long}.12"), format!("{long}.1.reason"))]
    {
        let bench = Bench::new();
        let reason = format!("{name}.reason");
        fs::write(bench.rejected(&reason), "somebody's").unwrap();
        let claim = bench.leftover(&[(&reason, "1:1: no")]);
        bench.spool.settle_gone(&claim).unwrap();
        bench.assert_nothing_claimed();
        assert_eq!(fs::read_to_string(bench.rejected(&reason)).unwrap(), "somebody's");
        assert_eq!(fs::read_to_string(bench.rejected(&beside)).unwrap(), "1:1: no");
    }
}

/// The database was restored from before: its ledger does not know the claim, but the file was removed because it took
/// effect.
#[test]
fn a_receipt_is_placed_also_where_the_ledger_has_forgotten_it() {
    let bench = Bench::new();
    fs::write(bench.applied("a.toml.json"), "another file's").unwrap();
    let claim = bench.leftover(&[("a.toml.json", RECEIPT)]);
    bench.spool.settle_gone(&claim).unwrap();
    bench.assert_nothing_claimed();
    assert_eq!(fs::read_to_string(bench.applied("a.toml.json")).unwrap(), "another file's");
    assert_eq!(fs::read_to_string(bench.applied("a.toml.1.json")).unwrap(), RECEIPT);
}

#[test]
fn a_refused_file_is_not_opened_to_more_than_before() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "token");
    fs::set_permissions(bench.claimed(claim.id()).join("a.toml"), Permissions::from_mode(0o604)).unwrap();
    bench.spool.settle_rejected(&claim, "1:1: no").unwrap();
    assert_eq!(mode(&bench.rejected("a.toml")), 0o600);
}

#[test]
fn an_empty_leftover_is_cleared_away() {
    let bench = Bench::new();
    let claim = bench.leftover(&[]);
    assert!(matches!(claim.read(10).unwrap(), Content::Gone));
    bench.spool.settle_gone(&claim).unwrap();
    bench.assert_nothing_claimed();
    for room in ["applied", "rejected"] {
        assert_eq!(names(&bench.root().join(room)), Vec::<OsString>::new());
    }
}

#[test]
fn a_full_or_missing_place_loses_nothing() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "token");
    fs::remove_dir(bench.root().join("rejected")).unwrap();
    bench.spool.settle_rejected(&claim, "1:1: no").unwrap_err();
    let claim = bench.spool.leftovers().unwrap().remove(0);
    assert_eq!(content(&claim), "token");
    // The next look makes what is missing.
    bench.settled_scan();
    bench.spool.settle_rejected(&claim, "1:1: no").unwrap();
    assert_eq!(fs::read_to_string(bench.rejected("a.toml")).unwrap(), "token");
    bench.assert_nothing_claimed();
}

/// A name that cannot be looked at is not a free one, and a receipt that finds no place is looked for no other.
#[test]
fn a_place_that_is_no_directory_is_an_error() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "token");
    for room in ["applied", "rejected"] {
        fs::remove_dir(bench.root().join(room)).unwrap();
        fs::write(bench.root().join(room), "").unwrap();
    }
    let error = bench.spool.settle_rejected(&claim, "1:1: no").unwrap_err().to_string();
    assert!(error.contains("rejected/a.toml") && error.contains("cannot be looked at"), "{error}");
    assert_eq!(content(&claim), "token");
    let error = bench.spool.settle_applied(&[(&claim, RECEIPT.as_bytes())]).unwrap_err().to_string();
    assert!(error.contains("cannot be put in its place"), "{error}");
}

/// What cannot be cleared away is told, not passed over: the claim would be forgotten with its file in it.
#[test]
fn what_cannot_be_removed_is_an_error() {
    let mut bench = Bench::new();
    let claim = bench.claim("a.toml", "token");
    bench.spool.close(&[&claim]).unwrap_err();
    fs::create_dir(bench.claimed(claim.id()).join("a.toml.reason")).unwrap();
    bench.spool.settle_rejected(&claim, "1:1: no").unwrap_err();
    bench.spool.settle_applied(&[(&claim, RECEIPT.as_bytes())]).unwrap_err();
    assert_eq!(content(&claim), "token");
}

#[test]
fn what_is_put_back_keeps_its_name_however_long() {
    let mut bench = Bench::new();
    let name = format!("{}.toml", "x".repeat(250));
    let claim = bench.claim(&name, "token");
    bench.spool.put_back(&claim).unwrap();
    assert_eq!(names(&bench.root().join("incoming")), [name.as_str()]);
}
