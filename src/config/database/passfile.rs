//! The password file (libpq, "The Password File"): `host:port:database:user:password`, `*` for any, `\` before a colon
//! or a backslash. The first line that fits counts. A file that others may read is ignored, with a notice.

use crate::config::Password;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// More than any password file: whatever is larger is something else.
const MAX_BYTES: u64 = 1 << 20;

/// Looks into the file at `path` for host (`localhost` for the default socket), port, database and user. No file, and no
/// line that fits, is no password; an error is what makes the file ignored.
pub(super) fn look(path: &Path, wanted: [&str; 4]) -> Result<Option<Password>, String> {
    // As libpq: what cannot even be looked at is not there. The home of root is closed to whom its commands become.
    let Ok(metadata) = fs::metadata(path) else { return Ok(None) };
    let shown = path.display();
    if !metadata.is_file() {
        return Err(format!("the password file {shown} is ignored: it is not a plain file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(format!(
            "the password file {shown} is ignored, since group or others may use it: chmod 0600 {shown}"
        ));
    }
    let size = usize::try_from(metadata.len().min(MAX_BYTES)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|error| format!("the password file {shown} cannot be read: {error}"))?;
    Ok(bytes.split(|byte| *byte == b'\n').find_map(|line| password(line, wanted)))
}

/// The password of this line, where it fits.
fn password(line: &[u8], wanted: [&str; 4]) -> Option<Password> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"#") {
        return None;
    }
    let rest = wanted.into_iter().try_fold(line, field)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(rest.len()));
    let mut escaped = rest.iter();
    while let Some(byte) = escaped.next() {
        bytes.extend(if *byte == b'\\' { escaped.next() } else { Some(byte) });
    }
    let text = std::str::from_utf8(&bytes).ok().filter(|text| !text.is_empty());
    text.map(|text| Password::new(text.to_owned()))
}

/// What follows the first field, where that is `*` or says `wanted`.
fn field<'l>(line: &'l [u8], wanted: &str) -> Option<&'l [u8]> {
    if let Some(rest) = line.strip_prefix(b"*:") {
        return Some(rest);
    }
    let mut wanted = wanted.bytes();
    let mut line = line;
    loop {
        line = match line {
            [b':', rest @ ..] => return wanted.next().is_none().then_some(rest),
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] if wanted.next() == Some(*byte) => rest,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [&str; 4] = ["db", "5432", "okdesk_bot", "relinkd"];

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    fn found(text: &str, wanted: [&str; 4]) -> Option<String> {
        let file = file(text, 0o600);
        look(file.path(), wanted).unwrap().map(|password| password.expose().to_owned())
    }

    #[test]
    fn takes_the_first_line_that_fits() {
        let cases = [
            ("db:5432:okdesk_bot:relinkd:one\n", Some("one")),
            ("db:5433:okdesk_bot:relinkd:no\n*:*:*:relinkd:two\n*:*:*:*:three", Some("two")),
            ("# db:5432:okdesk_bot:relinkd:no\r\n\r\n*:*:*:*:crlf\r\n", Some("crlf")),
            ("*:*:*:*:a\\:b\\\\c:d\n", Some("a:b\\c:d")),
            ("d\\b:5432:okdesk_bot:relinkd:escaped", Some("escaped")),
            ("*:*:*:*: blanks stay ", Some(" blanks stay ")),
            ("*:*:*:*:пароль", Some("пароль")),
            ("*:*:*:*:", None),
            ("db:5432:okdesk_bot:relinkd", None),
            ("dbx:5432:okdesk_bot:relinkd:no", None),
            ("d:5432:okdesk_bot:relinkd:no", None),
            ("**:5432:okdesk_bot:relinkd:no", None),
            ("\\*:5432:okdesk_bot:relinkd:no", None),
            ("", None),
        ];
        for (text, password) in cases {
            assert_eq!(found(text, WANTED).as_deref(), password, "{text:?}");
        }
    }

    #[test]
    fn names_with_colons_are_escaped() {
        let wanted = ["::1", "5432", "a\\b", "relinkd"];
        assert_eq!(found("\\:\\:1:5432:a\\\\b:relinkd:x", wanted).as_deref(), Some("x"));
        assert_eq!(found("::1:5432:a\\\\b:relinkd:x", wanted), None);
    }

    #[test]
    fn ignores_a_file_that_others_may_use() {
        for mode in [0o640, 0o604, 0o610, 0o660] {
            let file = file("*:*:*:*:x", mode);
            let Err(notice) = look(file.path(), WANTED) else { panic!("{mode:o}") };
            let path = file.path().display();
            let ignored = "is ignored, since group or others may use it: chmod 0600";
            assert_eq!(notice, format!("the password file {path} {ignored} {path}"));
        }
        for mode in [0o600, 0o400] {
            assert!(look(file("*:*:*:*:x", mode).path(), WANTED).is_ok());
        }
    }

    #[test]
    fn absence_is_no_news() {
        assert_eq!(look(Path::new("/nonexistent/pgpass"), WANTED), Ok(None));
        assert!(look(Path::new("/dev/null"), WANTED).is_err());
    }
}
