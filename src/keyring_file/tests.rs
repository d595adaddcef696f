use super::*;
use crate::envelope::{Key, KeyId};
use proptest::prelude::*;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

const A: &str = "q8ZrB0nD7cXw1vLk2mPj3hGf4sTa5yUe6iOo9pAbCdE";
const B: &str = "Zq8rB0nD7cXw1vLk2mPj3hGf4sTa5yUe6iOo9pAbCdE";

fn id(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

fn ring(text: &str) -> Keyring {
    grammar::parse(text).unwrap_or_else(|(_, what)| panic!("{what}"))
}

fn two() -> Keyring {
    ring(&format!("primary = \"a\"\n[keys]\na = \"{A}\"\nb = \"{B}\"\n"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A keyring in a directory of its own, which nobody else may write to.
fn home() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    set_mode(home.path(), 0o755);
    let path = home.path().canonicalize().unwrap().join("keyring.toml");
    fs::write(&path, grammar::write(&two()).as_bytes()).unwrap();
    set_mode(&path, 0o600);
    (home, path)
}

fn load_at(path: &Path, accept_owner: Option<u32>) -> Result<Keyring, KeyringError> {
    read(path, accept_owner).map(|(keyring, _)| keyring)
}

fn refusal(path: &Path) -> String {
    load_at(path, None).expect_err("it must be refused").with_mend()
}

#[test]
fn reads_what_it_writes() {
    let mut written = two();
    for text in [
        format!("primary = \"a\"\n[keys]\na = \"{A}\"\n"),
        format!("primary = \"a\"\nkeys = {{ a = \"{A}\" }}\n[retired]\nb = '{B}'"),
    ] {
        written = ring(&text);
        let read = ring(&grammar::write(&written));
        assert_eq!(*grammar::write(&read), *grammar::write(&written));
        assert_eq!(read.active()[&id("a")].encode().as_str(), A);
    }
    assert_eq!(written.retired()[&id("b")].encode().as_str(), B);
    assert!(
        grammar::write(&written)
            .ends_with(&format!("\n\nprimary = \"a\"\n\n[keys]\na = \"{A}\"\n\n[retired]\nb = \"{B}\"\n"))
    );
}

#[test]
fn a_wrong_file_is_refused_with_the_place_alone() {
    let zeros = "A".repeat(43);
    let cases = [
        (String::new(), "1:1: `primary` is missing: it names the key that seals, above [keys]"),
        (
            format!("[keys]\na = \"{A}\""),
            "1:1: `primary` is missing: it names the key that seals, above [keys]",
        ),
        (format!("primary = \"b\"\n[keys]\na = \"{A}\""), "1:11: the primary key `b` is not under [keys]"),
        ("primary = \"a\"".to_owned(), "1:11: the primary key `a` is not under [keys]"),
        (
            format!("primary = \"a\"\n[retired]\na = \"{A}\""),
            "1:11: the primary key `a` is retired: a retired key never seals",
        ),
        (
            format!("primary = \"a\"\n[keys]\na = \"{A}\"\nb = \"{B}\"\n[retired]\nb = \"{B}\""),
            "1:11: the key id `b` stands under [keys] and under [retired]",
        ),
        (
            format!("primary = \"a\"\n[keys]\na = \"{A}\"\na = \"{B}\""),
            "4:1: not TOML: is a quote, a bracket or `=` missing here, or does an id stand here a second time?",
        ),
        (
            format!("primary = \"{A}\"\n[keys]\na = \"{A}\""),
            "1:11: the id of a key must be 1 to 16 of a-z and 0-9",
        ),
        (
            format!("primary = \"a\"\n[keys]\nA = \"{A}\""),
            "3:1: the id of a key must be 1 to 16 of a-z and 0-9",
        ),
        (
            format!("primary = \"a\"\n[keys]\n{A} = \"a\""),
            "3:1: the id of a key must be 1 to 16 of a-z and 0-9",
        ),
        (format!("primary = \"a\"\n[keys]\na = \"{}\"", &A[1..]), "3:5: a key is 43 characters long"),
        (format!("primary = \"a\"\n[keys]\na = \"{A}=\""), "3:5: a key is 43 characters long"),
        (
            format!("primary = \"a\"\n[keys]\na = \"{}/\"", &A[1..]),
            "3:5: a key is base64url, without padding, of 32 bytes",
        ),
        (format!("primary = \"a\"\n[keys]\na = \"{zeros}\""), "3:5: a key of nothing but zeros is no key"),
        ("primary = \"a\"\n[keys]\na = 5".to_owned(), "3:5: a key must be text in quotes"),
        (format!("primary = \"a\"\nkeys = \"{A}\""), "2:8: [keys] and [retired] must be sections"),
        (
            format!("primary = \"a\"\nother = \"{A}\"\n[keys]\na = \"{A}\""),
            "2:1: a keyring has `primary`, [keys] and [retired], and nothing else",
        ),
        (
            format!("primary = \"a\"\n[keys]\na = {A}"),
            "3:5: not TOML: is a quote, a bracket or `=` missing here, or does an id stand here a second time?",
        ),
        (
            format!("primary = \"a\"\n[keys]\na = \"{A}"),
            "3:49: not TOML: is a quote, a bracket or `=` missing here, or does an id stand here a second time?",
        ),
    ];
    let (_home, path) = home();
    for (text, expected) in cases {
        fs::write(&path, &text).unwrap();
        let shown = refusal(&path);
        assert_eq!(shown, format!("{}:{expected}", path.display()), "{text}");
        assert!(!shown.contains(&A[2..10]) && !format!("{:?}", load_at(&path, None)).contains(&A[2..10]));
    }
    fs::write(&path, b"primary = \"\xff\"").unwrap();
    assert!(refusal(&path).contains(":1:1: not TOML: "));
    fs::write(&path, "#".repeat((64 << 10) + 1)).unwrap();
    assert!(refusal(&path).ends_with("a keyring is not larger than 64 KiB"));
}

#[test]
fn a_file_open_to_others_is_refused_with_the_mend() {
    let (_home, path) = home();
    for fine in [0o600, 0o640, 0o400, 0o440, 0o700, 0o641] {
        set_mode(&path, fine);
        // Without root, the owner's own bits count as well; all of these let him read.
        assert!(load_at(&path, None).is_ok(), "{fine:o}");
    }
    for (wrong, how) in [
        (0o644, "read by others"),
        (0o604, "read by others"),
        (0o660, "written by group or others"),
        (0o602, "written by group or others"),
        (0o666, "read by others and written by group or others"),
    ] {
        set_mode(&path, wrong);
        assert_eq!(
            refusal(&path),
            format!("the keyring {0} may be {how} (mode {wrong:04o}): chmod g-w,o-rw {0}", path.display())
        );
    }
}

#[test]
fn a_directory_open_to_others_is_refused_with_the_mend() {
    let (home, path) = home();
    let inner = path.parent().unwrap().join("in ner");
    fs::create_dir(&inner).unwrap();
    let moved = inner.join("keyring.toml");
    fs::rename(&path, &moved).unwrap();
    assert!(load_at(&moved, None).is_ok());
    for (directory, wrong) in [(inner.as_path(), 0o775), (&inner, 0o757), (home.path(), 0o777)] {
        set_mode(directory, wrong);
        let shown = refusal(&moved);
        assert!(shown.contains(&format!("(mode {wrong:04o}): chmod go-w ")), "{shown}");
        set_mode(directory, 0o755);
    }
    set_mode(&inner, 0o775);
    let shown = refusal(&moved);
    assert!(shown.ends_with(&format!("chmod go-w '{}'", inner.display())), "{shown}");
    // A sticky one is fine where it is root's, since only root could then put another file there.
    set_mode(&inner, 0o1777);
    let root = fs::metadata(&inner).unwrap().uid() == 0;
    assert_eq!(load_at(&moved, None).is_ok(), root);
}

#[test]
fn only_a_regular_file_is_a_keyring() {
    let (_home, path) = home();
    let beside = |name: &str| path.with_file_name(name);
    symlink(&path, beside("link")).unwrap();
    nix::unistd::mkfifo(&beside("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    fs::create_dir(beside("directory")).unwrap();
    for (name, found) in
        [("link", "a symbolic link"), ("fifo", "a device, a pipe or a socket"), ("directory", "a directory")]
    {
        let path = beside(name);
        assert_eq!(
            refusal(&path),
            format!("the keyring {} is {found}: it must be a regular file", path.display())
        );
    }
    let absent = beside("absent");
    let path = absent.display();
    assert_eq!(
        refusal(&absent),
        format!(
            "there is no keyring {path}: cp -p COPY {path} # bring the copy of the keyring back; \
             only where there never was one: relinkd key generate"
        )
    );
    let nowhere = beside("nowhere").join("keyring");
    assert_eq!(
        refusal(&nowhere),
        format!(
            "keyring {}: its directory cannot be looked up: No such file or directory (os error 2)",
            nowhere.display()
        )
    );
    assert!(matches!(load_at(Path::new("/"), None), Err(KeyringError::Distrusted { .. })));
}

/// A directory on the way may be a link: what counts is where it leads.
#[test]
fn links_among_the_directories_are_followed() {
    let (home, path) = home();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(home.path(), elsewhere.path().join("etc")).unwrap();
    let through = elsewhere.path().join("etc/keyring.toml");
    assert!(load_at(&through, None).is_ok());
    set_mode(path.parent().unwrap(), 0o777);
    assert!(refusal(&through).contains("could be replaced"));
}

#[test]
fn a_strangers_file_is_refused_unless_he_is_accepted() {
    if !nix::unistd::Uid::effective().is_root() {
        // Only root can make a file somebody else's.
        return;
    }
    let (_home, path) = home();
    std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
    assert_eq!(
        refusal(&path),
        format!(
            "the keyring {0} belongs to user 4242, who is neither root nor the user relinkd runs as: chown root {0}",
            path.display()
        )
    );
    assert!(load_at(&path, Some(4243)).is_err());
    assert!(load_at(&path, Some(4242)).is_ok());
}

/// Whoever owns a directory can put another file into it, whatever its mode says.
#[test]
fn a_directory_of_a_third_user_is_refused_with_the_mend() {
    if !nix::unistd::Uid::effective().is_root() {
        // Only root can make a directory somebody else's.
        return;
    }
    let (home, path) = home();
    let inner = path.parent().unwrap().join("inner");
    fs::create_dir(&inner).unwrap();
    let moved = inner.join("keyring.toml");
    fs::rename(&path, &moved).unwrap();
    for directory in [home.path(), &inner] {
        let directory = directory.canonicalize().unwrap();
        std::os::unix::fs::chown(&directory, Some(4242), None).unwrap();
        for mode in [0o755, 0o700, 0o1755, 0o1777] {
            set_mode(&directory, mode);
            assert_eq!(
                refusal(&moved),
                format!(
                    "the keyring {} could be replaced, since {1} belongs to user 4242, who is neither root nor the user \
                     relinkd runs as: chown root {1}",
                    moved.display(),
                    directory.display()
                )
            );
            assert!(load_at(&moved, Some(4243)).is_err());
        }
        set_mode(&directory, 0o755);
        let beside = moved.with_file_name("new.toml");
        assert!(matches!(create(&beside, &two(), None), Err(KeyringError::Distrusted { .. })));
        assert!(edit(&moved, None, |ring| promote(ring, &id("b")).map_err(Either::Edit)).is_err());
        // The spool's owner, for a command of root's.
        assert!(load_at(&moved, Some(4242)).is_ok());
        create(&beside, &two(), Some(4242)).unwrap();
        fs::remove_file(beside).unwrap();
        std::os::unix::fs::chown(&directory, Some(0), None).unwrap();
        assert!(load_at(&moved, None).is_ok());
    }
}

#[test]
fn create_makes_a_file_that_can_be_read_and_never_overwrites() {
    let (_home, path) = home();
    let before = fs::read(&path).unwrap();
    assert!(matches!(create(&path, &two(), None), Err(KeyringError::Present(_))));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::remove_file(&path).unwrap();
    create(&path, &two(), None).unwrap();
    assert!(load_at(&path, None).is_ok());
    let metadata = fs::metadata(&path).unwrap();
    assert!(matches!(mode(&path), 0o600 | 0o640), "0640 where root makes it and the group is there");
    assert_eq!((metadata.uid(), metadata.nlink()), (nix::unistd::Uid::effective().as_raw(), 1));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");

    let absent = path.with_file_name("none").join("keyring.toml");
    assert!(
        create(&absent, &two(), None).unwrap_err().to_string().contains("its directory cannot be looked up")
    );
    set_mode(path.parent().unwrap(), 0o777);
    assert!(matches!(create(&path.with_file_name("k"), &two(), None), Err(KeyringError::Distrusted { .. })));
}

#[test]
fn edit_keeps_owner_and_mode() {
    let (_home, path) = home();
    set_mode(&path, 0o640);
    if nix::unistd::Uid::effective().is_root() {
        std::os::unix::fs::chown(&path, Some(4242), Some(4343)).unwrap();
    }
    let before = fs::metadata(&path).unwrap();
    let new = edit(&path, Some(before.uid()), |ring| promote(ring, &id("b")).map_err(Either::Edit)).unwrap();
    assert_eq!(new.primary(), &id("b"));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
    assert_ne!(after.ino(), before.ino(), "replaced, not written over");
    assert_eq!(load_at(&path, Some(before.uid())).unwrap().primary(), &id("b"));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
}

/// As a command's own error: of the file, or of what was asked for.
#[derive(Debug)]
enum Either {
    File,
    Edit(EditFault),
}

impl From<KeyringError> for Either {
    fn from(_: KeyringError) -> Self {
        Self::File
    }
}

#[test]
fn an_edit_that_is_refused_changes_nothing() {
    let (_home, path) = home();
    let before = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().ino());
    let refused = edit(&path, None, |ring| retire(ring, &id("a")).map_err(Either::Edit));
    assert!(matches!(refused, Err(Either::Edit(EditFault::Primary(_)))));
    assert_eq!((fs::read(&path).unwrap(), fs::metadata(&path).unwrap().ino()), before);
    set_mode(&path, 0o666);
    assert!(matches!(edit(&path, None, |ring| Ok(ring.clone())), Err(Either::File)));
}

/// Without the lock, of two commands at a time one would lose the other's key.
#[test]
fn edits_at_the_same_time_lose_no_key() {
    let (_home, path) = home();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let path = &path;
            scope.spawn(move || {
                edit(path, None, |ring| {
                    add(ring, id(&format!("n{n}")), Key::generate().unwrap()).map_err(Either::Edit)
                })
                .unwrap();
            });
        }
    });
    assert_eq!(load_at(&path, None).unwrap().active().len(), 10);
}

#[test]
fn keys_are_added_promoted_retired_and_destroyed() {
    let ring = two();
    let key = || Key::parse(B).unwrap();
    let added = add(&ring, id("c"), key()).unwrap();
    assert_eq!((added.primary(), added.active().len()), (&id("a"), 3));
    assert_eq!(add(&ring, id("b"), key()).unwrap_err(), EditFault::Taken(id("b")));

    let promoted = promote(&ring, &id("b")).unwrap();
    assert_eq!(promoted.primary(), &id("b"));
    assert_eq!(promote(&ring, &id("x")).unwrap_err(), EditFault::Unknown(id("x")));

    assert_eq!(retire(&ring, &id("a")).unwrap_err(), EditFault::Primary(id("a")));
    assert_eq!(retire(&ring, &id("x")).unwrap_err(), EditFault::Unknown(id("x")));
    let retired = retire(&promoted, &id("a")).unwrap();
    assert!(retired.is_retired(&id("a")) && retired.active().len() == 1);
    assert_eq!(retire(&retired, &id("a")).unwrap_err(), EditFault::Retired(id("a")));
    assert_eq!(promote(&retired, &id("a")).unwrap_err(), EditFault::Retired(id("a")));
    assert_eq!(add(&retired, id("a"), key()).unwrap_err(), EditFault::Taken(id("a")));

    assert!(!destroy(&retired, &id("a")).unwrap().contains(&id("a")));
    assert!(!destroy(&ring, &id("b")).unwrap().contains(&id("b")));
    assert_eq!(destroy(&ring, &id("a")).unwrap_err(), EditFault::Primary(id("a")));
    assert_eq!(destroy(&ring, &id("x")).unwrap_err(), EditFault::Unknown(id("x")));
}

#[test]
fn what_is_left_of_a_destroyed_key_stays_in_the_file() {
    let left = destroy(&two(), &id("b")).unwrap();
    let text = grammar::write(&left);
    let subkey = Key::parse(B).unwrap().for_fingerprints().encode();
    assert!(text.contains(subkey.as_str()) && !text.contains(B) && !text.contains("b = "), "{}", text.len());
    let read = ring(&text);
    assert_eq!(*grammar::write(&read), *text);
    let edited = promote(&add(&read, id("c"), Key::generate().unwrap()).unwrap(), &id("c")).unwrap();
    assert_eq!(edited.fingerprint_keys().len(), 1);
    for (wrong, place) in
        [("fingerprint_keys = 1", "must be a list"), ("fingerprint_keys = [1]", "in quotes")]
    {
        let text = format!("{wrong}\nprimary = \"a\"\n[keys]\na = \"{A}\"\n");
        assert!(grammar::parse(&text).is_err_and(|(_, what)| what.contains(place)), "{wrong}");
    }
}

#[test]
fn ids_follow_the_year_and_the_alphabet() {
    assert_eq!(next_id(None, |_| false, 2026).unwrap(), id("k2026a"));
    assert_eq!(
        next_id(None, |it| it.as_str() == "k2026a", 2026).unwrap(),
        id("k2026b"),
        "a stored token names it"
    );
    assert_eq!(next_id(Some(&two()), |_| false, 2026).unwrap(), id("k2026a"));
    let mut ring = two();
    for expected in (b'a'..=b'z')
        .map(|letter| format!("k2026{}", char::from(letter)))
        .chain(["k2026aa".to_owned(), "k2026ab".to_owned()])
    {
        let next = next_id(Some(&ring), |_| false, 2026).unwrap();
        assert_eq!(next.as_str(), expected);
        ring = add(&ring, next, Key::generate().unwrap()).unwrap();
    }
    // A retired key's id is taken as well.
    let ring = ring_with_retired("k2027a");
    assert_eq!(next_id(Some(&ring), |_| false, 2027).unwrap(), id("k2027b"));
}

fn ring_with_retired(retired: &str) -> Keyring {
    let ring = add(&two(), id(retired), Key::generate().unwrap()).unwrap();
    retire(&ring, &id(retired)).unwrap()
}

proptest! {
    /// No fault shows a piece of a key, wherever in a broken file it stands.
    #[test]
    fn no_fault_shows_a_key(before in "[a-z=\"'\\[\\]{}\n#,. ]{0,20}", after in "[a-z=\"'\\[\\]{}\n#,. ]{0,10}") {
        let text = format!("primary = \"a\"\n{before}{A}{after}");
        if let Err((_, shown)) = grammar::parse(&text) {
            prop_assert!(!A.as_bytes().windows(4).any(|piece| shown.contains(std::str::from_utf8(piece).unwrap())));
        }
    }
}
