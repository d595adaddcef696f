//! A table as spreadsheets save it, read as a drop file: a user and a token in each row.
//!
//! Encoding, separator and header are recognised. What a table may hide is refused: a quote that swallows rows, a row in
//! which cells have moved, a number that the spreadsheet has shortened. The parser is csv-core, the inner one of the crate
//! csv: it says where each cell is.

use super::{DropFile, Fault, FaultKind, Faulty, Key, MAX_BYTES, Reader, Refused};
use crate::token::{Token, TokenRule};
use csv_core::{ReadFieldResult, ReaderBuilder};
use std::str::FromStr;
use zeroize::Zeroizing;

/// What may stand between two cells.
const SEPARATORS: [u8; 4] = *b";,\t|";
/// Rows that tell which of them it is.
const ROWS_TO_TELL: usize = 100;
/// Windows-1251 from 0x80 to 0xbf; the letters from А to я follow.
const WINDOWS_1251: &str = "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\u{98}™љ›њќћџ\u{a0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{ad}®Ї°±Ііґµ¶·ё№є»јЅѕї";

/// Which columns hold what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    user: Column,
    token: Column,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    /// As the first row calls it, in any letter case.
    Name(String),
    /// Counted from 0.
    Index(usize),
}

impl Default for Columns {
    fn default() -> Self {
        let named = |key: Key| Column::Name(key.name().to_owned());
        Self { user: named(Key::User), token: named(Key::Token) }
    }
}

impl FromStr for Columns {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            "name two columns, the user's and the token's, or number them from 1: telegram_id,token or 1,3";
        let (user, token) = text.split_once(',').ok_or(wrong)?;
        let column = |text: &str| match text.trim().parse::<usize>() {
            Ok(0) => Err(wrong),
            Ok(number) => Ok(Column::Index(number - 1)),
            Err(_) if text.trim().is_empty() || text.contains(',') => Err(wrong),
            Err(_) => Ok(Column::Name(simple(text))),
        };
        let columns = Self { user: column(user)?, token: column(token)? };
        if columns.user == columns.token { Err(wrong) } else { Ok(columns) }
    }
}

/// A name without what differs from spreadsheet to spreadsheet.
fn simple(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

/// Reads a spreadsheet's table. No columns: those called `telegram_id` and `token`, or the two there are where no row
/// names any.
///
/// # Errors
/// Every fault of the file.
pub(crate) fn parse(bytes: &[u8], rule: &TokenRule, columns: Option<&Columns>) -> Result<DropFile, Faulty> {
    if bytes.len() > MAX_BYTES {
        return Err(Faulty::wholly(Fault::of_file(FaultKind::TooLarge)));
    }
    let text = decode(bytes).map_err(|kind| Faulty::wholly(Fault::of_file(kind)))?;
    let (start, separators) = announced(&text);
    // Of equals the last one is the greatest.
    let table = separators
        .iter()
        .rev()
        .filter_map(|separator| Table::of(&text, start, *separator, columns))
        .max_by_key(Table::users_at_first);
    let mut reader = Reader::new(&text, rule);
    match table {
        Some(table) => table.read(&mut reader),
        None if text[start..].trim().is_empty() => reader.fault(0, FaultKind::NoAssignment),
        None => reader.fault(start, FaultKind::NoColumns),
    }
    reader.finish()
}

/// The text, whatever of the encodings of spreadsheets it is in. Users and tokens are ASCII in each of them.
fn decode(bytes: &[u8]) -> Result<Zeroizing<String>, FaultKind> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\xd0\xcf\x11\xe0") {
        return Err(FaultKind::Workbook);
    }
    let empty = || Zeroizing::new(String::with_capacity(bytes.len() * 2));
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks(2).map(|two| unit([two[0], *two.get(1).unwrap_or(&0)]));
        let mut text = empty();
        for character in char::decode_utf16(units) {
            text.push(character.map_err(|_| FaultKind::Utf16)?);
        }
        Ok(text)
    };
    let text = if bytes.starts_with(b"\xff\xfe") || bytes.get(1) == Some(&0) {
        utf16(u16::from_le_bytes)?
    } else if bytes.starts_with(b"\xfe\xff") || bytes.first() == Some(&0) {
        utf16(u16::from_be_bytes)?
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        Zeroizing::new(text.to_owned())
    } else {
        let high: Vec<char> = WINDOWS_1251.chars().chain('А'..='я').collect();
        let letter =
            |byte: &u8| byte.checked_sub(0x80).map_or((*byte).into(), |above| high[usize::from(above)]);
        let mut text = empty();
        text.extend(bytes.iter().map(letter));
        text
    };
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => Zeroizing::new(rest.to_owned()),
        None => text,
    })
}

/// Where the table begins, and what may separate its cells: the first line may say so (`sep=;`).
fn announced(text: &str) -> (usize, Vec<u8>) {
    let line = text.split_inclusive('\n').next().unwrap_or_default();
    match line.trim().trim_matches('"').strip_prefix("sep=").map(str::as_bytes) {
        Some([separator]) => (line.len(), vec![*separator]),
        Some([]) if line.contains("sep=\t") => (line.len(), vec![b'\t']),
        _ => (0, SEPARATORS.to_vec()),
    }
}

/// A text and where it stands.
struct Cell {
    at: usize,
    text: Zeroizing<String>,
    /// Its quotes do not come in pairs around it.
    misquoted: bool,
}

/// A table whose columns are known.
struct Table {
    rows: Vec<Vec<Cell>>,
    user: usize,
    token: usize,
    /// Cells in a row, at most.
    width: usize,
}

impl Table {
    /// The text cut at this separator; none where the columns are not found then.
    fn of(text: &str, start: usize, separator: u8, columns: Option<&Columns>) -> Option<Self> {
        let mut rows = rows(text, start, separator);
        let first = rows.first()?;
        let width = first.len();
        let called: Vec<String> = first.iter().map(|cell| simple(&cell.text)).collect();
        let by_name = Columns::default();
        let place = |column: &Column| match column {
            Column::Index(index) => (*index < width).then_some(*index),
            Column::Name(name) => {
                let mut found = (0..width).filter(|index| called[*index] == *name);
                found.next().filter(|_| found.next().is_none())
            }
        };
        let wanted = columns.unwrap_or(&by_name);
        let (user, token, has_names) = match (place(&wanted.user), place(&wanted.token)) {
            (Some(user), Some(token)) => {
                let by_number = matches!((&wanted.user, &wanted.token), (Column::Index(_), Column::Index(_)));
                (user, token, !by_number || !first[user].text.contains(|c: char| c.is_ascii_digit()))
            }
            _ if columns.is_none() && width == 2 && is_whole(&first[0].text) => (0, 1, false),
            _ => return None,
        };
        if has_names {
            rows.remove(0);
        }
        Some(Self { rows, user, token, width })
    }

    /// How many of the first rows have a number where the user should be.
    fn users_at_first(&self) -> usize {
        let users = self.rows.iter().take(ROWS_TO_TELL).filter_map(|row| row.get(self.user));
        users.filter(|cell| is_whole(&cell.text)).count()
    }

    fn read(self, reader: &mut Reader<'_>) {
        if self.rows.is_empty() {
            reader.fault(0, FaultKind::NoAssignment);
        }
        for row in &self.rows {
            let at = row.first().map_or(0, |cell| cell.at);
            let misquoted = row.iter().find(|cell| cell.misquoted);
            if let Some(cell) = misquoted {
                reader.fault(cell.at, FaultKind::Misquoted);
            } else if row.len() > self.width {
                reader.fault(row[self.width].at, FaultKind::CellTooMany);
            } else {
                let user = user(reader, row.get(self.user), at);
                let token = token(reader, row.get(self.token), at);
                reader.push(user, token.map(Some));
            }
        }
    }
}

fn user(reader: &mut Reader<'_>, cell: Option<&Cell>, at: usize) -> Result<i64, Refused> {
    let Some(cell) = cell.filter(|cell| !cell.text.is_empty()) else {
        return reader.refuse(at, FaultKind::NoUser);
    };
    if let Ok(telegram_id) = cell.text.parse() {
        return Ok(reader.named(cell.at, telegram_id));
    }
    let kind = if is_whole(&cell.text) {
        FaultKind::OutOfRange
    } else if is_shortened(&cell.text) {
        FaultKind::Shortened(Key::User)
    } else {
        FaultKind::WrongType(Key::User)
    };
    reader.refuse(cell.at, kind)
}

fn token(reader: &mut Reader<'_>, cell: Option<&Cell>, at: usize) -> Result<Token, Refused> {
    let (at, text) = cell.map_or((at, ""), |cell| (cell.at, cell.text.as_str()));
    if is_shortened(text) {
        return reader.refuse(at, FaultKind::Shortened(Key::Token));
    }
    reader.admitted(at, text)
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `4,13E+08`: how spreadsheets show long numbers, and save them.
fn is_shortened(text: &str) -> bool {
    text.split_once(['E', 'e']).is_some_and(|(number, power)| {
        let fraction = number.split_once([',', '.']).unwrap_or((number, "0"));
        is_whole(fraction.0) && is_whole(fraction.1) && power.strip_prefix('+').is_some_and(is_whole)
    })
}

/// The rows that are not empty, without the empty cells at their ends.
fn rows(text: &str, start: usize, separator: u8) -> Vec<Vec<Cell>> {
    let bytes = text.as_bytes();
    let mut parser = ReaderBuilder::new().delimiter(separator).build();
    let mut content = Zeroizing::new(vec![0; bytes.len() - start + 1]);
    let (mut rows, mut row) = (Vec::new(), Vec::new());
    let (mut next, mut cell_at, mut filled) = (start, start, 0);
    loop {
        let (result, read, written) = parser.read_field(&bytes[next..], &mut content[filled..]);
        next += read;
        filled += written;
        match result {
            ReadFieldResult::Field { record_end } => {
                // What ended the cell is one byte of what was read; at the end of the text nothing was.
                row.push(cell(text, cell_at, next - usize::from(read > 0), &content[..filled]));
                (cell_at, filled) = (next, 0);
                if record_end {
                    let filled_cells =
                        row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |at| at + 1);
                    row.truncate(filled_cells);
                    if !row.is_empty() {
                        rows.push(std::mem::take(&mut row));
                    }
                }
            }
            ReadFieldResult::InputEmpty => {}
            // There is as much room as there is input.
            ReadFieldResult::OutputFull | ReadFieldResult::End => return rows,
        }
    }
}

/// The cell that stands between these two places, with what the parser made of it.
fn cell(text: &str, start: usize, end: usize, content: &[u8]) -> Cell {
    let written = &text[start..end.max(start)];
    // Line ends before a row's first cell were read with it.
    let at = start + (written.len() - written.trim_start().len());
    let written = written.trim();
    let Some(rest) = written.strip_prefix('"') else {
        let content = std::str::from_utf8(content).unwrap_or_default().trim();
        return Cell { at, text: Zeroizing::new(content.to_owned()), misquoted: false };
    };
    // The parser takes a quote behind a space for text.
    let inner = Zeroizing::new(rest.strip_suffix('"').unwrap_or(rest).replace("\"\"", "\u{0}"));
    let misquoted = !rest.ends_with('"') || inner.contains('"');
    Cell { at, text: Zeroizing::new(inner.replace('\u{0}', "\"").trim().to_owned()), misquoted }
}

#[cfg(test)]
mod tests;
