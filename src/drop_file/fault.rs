//! What can be wrong with a drop file: a place, and a rule in one sentence, in English and in Russian.
//!
//! No kind holds a value of the file, not even the name of an unknown key, since a token may stand anywhere in a file
//! that is wrong.

use crate::place::Place;
use crate::printable::Printable;
use crate::token::TokenFault;
use std::fmt::{self, Write as _};
use thiserror::Error;

/// How many faults a reason lists; a file of noise could have half a million.
const FAULTS_SHOWN: usize = 1_000;

/// What stands in `NAME.reason`: each fault in English and, beneath, in Russian.
pub(crate) fn reason(faults: &[Fault]) -> String {
    let mut reason = String::new();
    for fault in faults.iter().take(FAULTS_SHOWN) {
        for line in Printable::lines(&fault.in_two_languages()) {
            let _ = writeln!(reason, "{line}");
        }
    }
    if faults.len() > FAULTS_SHOWN {
        let more = faults.len() - FAULTS_SHOWN;
        let _ = writeln!(reason, "and {more} faults more\n    и ещё ошибок: {more}");
    }
    reason
}

/// One fault of a drop file. It prints as `line:column: sentence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{place}: {kind}")]
pub(crate) struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault at a place.
    pub(crate) fn new(place: Place, kind: FaultKind) -> Self {
        Self { place, kind }
    }

    /// A fault of the file as a whole.
    pub(crate) fn of_file(kind: FaultKind) -> Self {
        Self::new(Place::START, kind)
    }

    /// Two lines for people: the fault in English and, beneath, indented, in Russian.
    pub(crate) fn in_two_languages(&self) -> String {
        let [english, russian] = self.kind.sentences();
        format!("{}: {english}\n    {russian}", self.place)
    }
}

/// A key of a drop file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// `telegram_id`
    User,
    /// `token`
    Token,
    /// `remove`
    Remove,
    /// `assignment`
    List,
}

impl Key {
    /// As it is written.
    pub(crate) const fn name(self) -> &'static str {
        self.words()[0]
    }

    /// Its name, and what its value must be, in English and in Russian.
    const fn words(self) -> [&'static str; 3] {
        match self {
            Self::User => ["telegram_id", "a whole number", "нужно целое число"],
            Self::Token => ["token", "text in quotes", "нужен текст в кавычках"],
            Self::Remove => ["remove", "`true`", "допустимо только `true`"],
            Self::List => [
                "assignment",
                "written as [[assignment]], once for each user",
                "пишите [[assignment]], отдельно для каждого пользователя",
            ],
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The rules that may be broken, each with its sentence in English and in Russian.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $(($field:ident: $type:ty $(, $part:pat = $whole:expr)?))?:
        $english:literal, $russian:literal;)*) => {
        /// The rule that is broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum FaultKind {
            $($(#[$doc])* $kind $(($type))?,)*
        }

        impl FaultKind {
            /// The rule in one sentence, in English and in Russian.
            fn sentences(self) -> [String; 2] {
                match self {
                    $(Self::$kind $(($field))? => {
                        $($(let $part = $whole;)?)?
                        [format!($english), format!($russian)]
                    })*
                }
            }
        }
    };
}

kinds! {
    /// Larger than [`super::MAX_BYTES`].
    TooLarge:
        "the file is larger than 1 MiB",
        "файл больше 1 МиБ";
    /// A byte that is no UTF-8.
    NotUtf8:
        "the file is not UTF-8 text from here on",
        "начиная с этого места файл не является текстом в UTF-8";
    /// Not UTF-8, and its bytes look like Cyrillic letters in Windows-1251.
    Windows1251:
        "the file is in another encoding than UTF-8, Windows-1251 by its looks: save it as UTF-8",
        "кодировка файла не UTF-8, судя по виду — Windows-1251: сохраните его в UTF-8";
    /// UTF-16, by its byte order mark or by its many zero bytes.
    Utf16:
        "the file is in UTF-16, which some editors call Unicode: save it as UTF-8",
        "файл в кодировке UTF-16 (в некоторых редакторах — «Юникод»): сохраните его в UTF-8";
    /// A byte order mark that does not stand at the beginning.
    ByteOrderMark:
        "a byte order mark (U+FEFF, invisible) stands here: files were joined, remove it or save the file anew",
        "здесь стоит метка порядка байтов (U+FEFF, не видна): файлы склеили, удалите её или сохраните файл заново";
    /// JSON.
    Json:
        "this is JSON, and a drop file is TOML: `telegram_id = 1`, on the next line `token = \"…\"`",
        "это JSON, а нужен TOML: `telegram_id = 1`, на следующей строке `token = \"…\"`";
    /// YAML.
    Yaml:
        "this is YAML, and a drop file is TOML: `telegram_id = 1` with `=`, on the next line `token = \"…\"`",
        "это YAML, а нужен TOML: `telegram_id = 1` через `=`, на следующей строке `token = \"…\"`";
    /// A table of values with separators.
    Csv:
        "this is CSV, and a drop file is TOML: `telegram_id = 1`, on the next line `token = \"…\"`; or use `relinkd token import`",
        "это CSV, а нужен TOML: `telegram_id = 1`, на следующей строке `token = \"…\"`; или загрузите его командой `relinkd token import`";
    /// A spreadsheet's own format.
    Workbook:
        "this is a workbook, not a table as text: save it as CSV",
        "это файл электронной таблицы, а не текст: сохраните его в формате CSV";
    /// A table without the columns that are asked for, or with one of them twice.
    NoColumns:
        "the first line must name one column `telegram_id` and one column `token`; other columns are named or numbered with --columns",
        "в первой строке должны быть один столбец `telegram_id` и один столбец `token`; другие названия или номера столбцов задаёт --columns";
    /// More cells than in the first row.
    CellTooMany:
        "this row has more cells than the first one: text with the separator in it must stand in quotes",
        "в этой строке больше ячеек, чем в первой: текст, в котором есть разделитель, нужно взять в кавычки";
    /// A quote of a table that has no partner, or stands beside other text.
    Misquoted:
        "this cell begins with a quote and does not end with its partner: rows may be hidden in it",
        "ячейка начинается с кавычки и не заканчивается парной: внутри могли оказаться другие строки";
    /// A number as a spreadsheet shows it where it is long.
    Shortened(key: Key):
        "`{key}` is a number that the spreadsheet has shortened: let the column be text, and fill it in anew",
        "`{key}`: число сокращено табличным редактором; задайте столбцу текстовый формат и заполните его заново";
    /// Quotes of a word processor.
    CurlyQuotes:
        "curly quotes stand here, as word processors put them: only straight ones count, \" or '",
        "здесь типографские кавычки, как их ставят текстовые редакторы: нужны прямые, \" или '";
    /// A token that stands in no quotes.
    Unquoted:
        "`token` must be text in quotes, and the quotes are missing",
        "`token` нужно писать в кавычках, а их нет";
    /// Not TOML, a key that stands twice in one table included.
    NotToml:
        "not TOML: is a quote, a bracket or `=` missing, or does a key stand twice?",
        "это не TOML: не хватает кавычки, скобки или `=`, либо ключ указан дважды";
    /// A key that a drop file does not have.
    UnknownKey:
        "unknown key: an assignment has `telegram_id` and either `token` or `remove`",
        "неизвестный ключ: в назначении есть `telegram_id` и либо `token`, либо `remove`";
    /// A value of another type.
    WrongType(key: Key, [_, right, needed] = key.words()):
        "`{key}` must be {right}",
        "`{key}`: {needed}";
    /// A `telegram_id` that is no 64-bit number.
    OutOfRange:
        "`telegram_id` is out of range: it must fit a 64-bit integer",
        "`telegram_id` вне допустимых значений: это 64-разрядное целое число";
    /// An assignment without `telegram_id`.
    NoUser:
        "`telegram_id` is missing",
        "нет `telegram_id`";
    /// Neither `token` nor `remove`.
    NoChange:
        "neither `token` nor `remove = true` says what to do for this user",
        "нет ни `token`, ни `remove = true`: не сказано, что сделать для этого пользователя";
    /// Both `token` and `remove`.
    BothChanges:
        "`remove` stands beside `token`: leave one of them out",
        "`remove` стоит рядом с `token`: оставьте что-то одно";
    /// `remove = false`.
    RemoveFalse:
        "`remove` can only be `true`: leave the assignment out to change nothing",
        "`remove` может быть только `true`: чтобы ничего не менять, уберите это назначение";
    /// Keys of a single assignment at the top level beside `[[assignment]]`.
    MixedForms:
        "a single assignment at the top level cannot stand beside [[assignment]]",
        "одиночное назначение на верхнем уровне не может стоять рядом с [[assignment]]";
    /// Not a single assignment.
    NoAssignment:
        "no assignment at all",
        "нет ни одного назначения";
    /// A text that is no token.
    BadToken(fault: TokenFault, russian = of_token(fault)):
        "the token {fault}",
        "{russian}";
    /// A user who was there before.
    UserTwice(first: Place):
        "the same `telegram_id` stands at {first} already",
        "тот же `telegram_id` уже указан в {first}";
    /// A token that was there before.
    TokenTwice(first: Place):
        "the same token stands at {first} already",
        "тот же токен уже указан в {first}";
    /// From the database: nobody has this `telegram_id`.
    UnknownUser:
        "no user has this `telegram_id`",
        "нет пользователя с таким `telegram_id`";
    /// From the database: somebody else would hold the same token after the whole file.
    TokenHeld:
        "another user holds this token",
        "этот токен принадлежит другому пользователю";
    /// From the disk: tried several times, the file could not be read.
    Unreadable:
        "relinkd cannot open or read the file: its mode forbids it (chmod g+r), or another program keeps it (a lease)",
        "relinkd не может открыть или прочитать файл: не дают права доступа (chmod g+r) или его держит другая программа (lease)";
    /// From the database: tried several times, it refused to write these users' rows.
    WriteRefused:
        "the database refuses the write for a user of this file; relinkd's log says why",
        "база данных отвергает запись для одного из пользователей файла; причина — в журнале relinkd";
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [english, _] = self.sentences();
        f.write_str(&english)
    }
}

/// What is wrong with a token, in Russian.
fn of_token(fault: TokenFault) -> &'static str {
    match fault {
        TokenFault::Empty => "токен пуст",
        TokenFault::TooLong => "токен длиннее 128 символов",
        TokenFault::NotVisibleAscii => "в токене есть символ, который не относится к видимым символам ASCII",
        TokenFault::ReservedPrefix => "токен начинается с `relinkd:`: так помечены зашифрованные токены",
        TokenFault::Pattern => "токен не соответствует portal.token_pattern",
    }
}

impl FaultKind {
    /// Whether it complains of something that is not there, which a damaged line may have swallowed.
    pub(super) fn is_absence(self) -> bool {
        matches!(self, Self::NoUser | Self::NoChange | Self::NoAssignment)
    }

    /// Whether the line is no TOML, so that nothing else that was made of it counts.
    pub(super) fn is_syntax(self) -> bool {
        matches!(self, Self::NotToml | Self::CurlyQuotes | Self::ByteOrderMark | Self::Unquoted)
    }
}
