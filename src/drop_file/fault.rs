//! What can be wrong with a drop file: a place, and a rule in one sentence, in English and in Russian.
//!
//! No kind holds a value of the file, not even the name of an unknown key, since a token may stand anywhere in a file
//! that is wrong.

use std::fmt::{self, Write as _};

use thiserror::Error;

use crate::{place::Place, printable::Printable, token::TokenFault};

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
        format!("{self}\n    {}", self.kind.in_russian())
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

/// The rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum FaultKind {
    /// Larger than [`super::MAX_BYTES`].
    #[error("the file is larger than 1 MiB")]
    TooLarge,
    /// A byte that is no UTF-8.
    #[error("the file is not UTF-8 text from here on")]
    NotUtf8,
    /// Not UTF-8, and its bytes look like Cyrillic letters in Windows-1251.
    #[error("the file is in another encoding than UTF-8, Windows-1251 by its looks: save it as UTF-8")]
    Windows1251,
    /// UTF-16, by its byte order mark or by its many zero bytes.
    #[error("the file is in UTF-16, which some editors call Unicode: save it as UTF-8")]
    Utf16,
    /// A byte order mark that does not stand at the beginning.
    #[error(
        "a byte order mark (U+FEFF, invisible) stands here: files were joined, remove it or save the file anew"
    )]
    ByteOrderMark,
    /// JSON.
    #[error("this is JSON, and a drop file is TOML: `telegram_id = 1`, on the next line `token = \"…\"`")]
    Json,
    /// YAML.
    #[error(
        "this is YAML, and a drop file is TOML: `telegram_id = 1` with `=`, on the next line `token = \"…\"`"
    )]
    Yaml,
    /// A table of values with separators.
    #[error(
        "this is CSV, and a drop file is TOML: `telegram_id = 1`, on the next line `token = \"…\"`; or use `relinkd token import`"
    )]
    Csv,
    /// A spreadsheet's own format.
    #[error("this is a workbook, not a table as text: save it as CSV")]
    Workbook,
    /// A table without the columns that are asked for, or with one of them twice.
    #[error(
        "the first line must name one column `telegram_id` and one column `token`; other columns are named or numbered with --columns"
    )]
    NoColumns,
    /// More cells than in the first row.
    #[error("this row has more cells than the first one: text with the separator in it must stand in quotes")]
    CellTooMany,
    /// A quote of a table that has no partner, or stands beside other text.
    #[error("this cell begins with a quote and does not end with its partner: rows may be hidden in it")]
    Misquoted,
    /// A number as a spreadsheet shows it where it is long.
    #[error(
        "`{0}` is a number that the spreadsheet has shortened: let the column be text, and fill it in anew"
    )]
    Shortened(Key),
    /// Quotes of a word processor.
    #[error("curly quotes stand here, as word processors put them: only straight ones count, \" or '")]
    CurlyQuotes,
    /// A token that stands in no quotes.
    #[error("`token` must be text in quotes, and the quotes are missing")]
    Unquoted,
    /// Not TOML, a key that stands twice in one table included.
    #[error("not TOML: is a quote, a bracket or `=` missing, or does a key stand twice?")]
    NotToml,
    /// A key that a drop file does not have.
    #[error("unknown key: an assignment has `telegram_id` and either `token` or `remove`")]
    UnknownKey,
    /// A value of another type.
    #[error("`{0}` must be {right}", right = .0.words()[1])]
    WrongType(Key),
    /// A `telegram_id` that is no 64-bit number.
    #[error("`telegram_id` is out of range: it must fit a 64-bit integer")]
    OutOfRange,
    /// An assignment without `telegram_id`.
    #[error("`telegram_id` is missing")]
    NoUser,
    /// Neither `token` nor `remove`.
    #[error("neither `token` nor `remove = true` says what to do for this user")]
    NoChange,
    /// Both `token` and `remove`.
    #[error("`remove` stands beside `token`: leave one of them out")]
    BothChanges,
    /// `remove = false`.
    #[error("`remove` can only be `true`: leave the assignment out to change nothing")]
    RemoveFalse,
    /// Keys of a single assignment at the top level beside `[[assignment]]`.
    #[error("a single assignment at the top level cannot stand beside [[assignment]]")]
    MixedForms,
    /// Not a single assignment.
    #[error("no assignment at all")]
    NoAssignment,
    /// A text that is no token.
    #[error("the token {0}")]
    BadToken(TokenFault),
    /// A user who was there before.
    #[error("the same `telegram_id` stands at {first} already")]
    UserTwice {
        /// Where it stands first.
        first: Place,
    },
    /// A token that was there before.
    #[error("the same token stands at {first} already")]
    TokenTwice {
        /// Where it stands first.
        first: Place,
    },
    /// From the database: nobody has this `telegram_id`.
    #[error("no user has this `telegram_id`")]
    UnknownUser,
    /// From the database: somebody else would hold the same token after the whole file.
    #[error("another user holds this token")]
    TokenHeld,
    /// From the disk: tried several times, the file could not be read.
    #[error(
        "relinkd cannot open or read the file: its mode forbids it (chmod g+r), or another program keeps it (a lease)"
    )]
    Unreadable,
    /// From the database: tried several times, it refused to write these users' rows.
    #[error("the database refuses the write for a user of this file; relinkd's log says why")]
    WriteRefused,
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

    /// The same sentence in Russian.
    fn in_russian(self) -> String {
        let text = match self {
            Self::TooLarge => "файл больше 1 МиБ",
            Self::NotUtf8 => "начиная с этого места файл не является текстом в UTF-8",
            Self::Windows1251 => {
                "кодировка файла не UTF-8, судя по виду — Windows-1251: сохраните его в UTF-8"
            }
            Self::Utf16 => {
                "файл в кодировке UTF-16 (в некоторых редакторах — «Юникод»): сохраните его в UTF-8"
            }
            Self::ByteOrderMark => {
                "здесь стоит метка порядка байтов (U+FEFF, не видна): файлы склеили, удалите её или сохраните файл заново"
            }
            Self::Json => "это JSON, а нужен TOML: `telegram_id = 1`, на следующей строке `token = \"…\"`",
            Self::Yaml => {
                "это YAML, а нужен TOML: `telegram_id = 1` через `=`, на следующей строке `token = \"…\"`"
            }
            Self::Csv => {
                "это CSV, а нужен TOML: `telegram_id = 1`, на следующей строке `token = \"…\"`; или загрузите его командой `relinkd token import`"
            }
            Self::Workbook => "это файл электронной таблицы, а не текст: сохраните его в формате CSV",
            Self::NoColumns => {
                "в первой строке должны быть один столбец `telegram_id` и один столбец `token`; другие названия или номера столбцов задаёт --columns"
            }
            Self::CellTooMany => {
                "в этой строке больше ячеек, чем в первой: текст, в котором есть разделитель, нужно взять в кавычки"
            }
            Self::Misquoted => {
                "ячейка начинается с кавычки и не заканчивается парной: внутри могли оказаться другие строки"
            }
            Self::Shortened(key) => {
                return format!(
                    "`{key}`: число сокращено табличным редактором; задайте столбцу текстовый формат и заполните его заново"
                );
            }
            Self::CurlyQuotes => {
                "здесь типографские кавычки, как их ставят текстовые редакторы: нужны прямые, \" или '"
            }
            Self::Unquoted => "`token` нужно писать в кавычках, а их нет",
            Self::NotToml => "это не TOML: не хватает кавычки, скобки или `=`, либо ключ указан дважды",
            Self::UnknownKey => {
                "неизвестный ключ: в назначении есть `telegram_id` и либо `token`, либо `remove`"
            }
            Self::WrongType(key) => return format!("`{key}`: {}", key.words()[2]),
            Self::OutOfRange => "`telegram_id` вне допустимых значений: это 64-разрядное целое число",
            Self::NoUser => "нет `telegram_id`",
            Self::NoChange => {
                "нет ни `token`, ни `remove = true`: не сказано, что сделать для этого пользователя"
            }
            Self::BothChanges => "`remove` стоит рядом с `token`: оставьте что-то одно",
            Self::RemoveFalse => {
                "`remove` может быть только `true`: чтобы ничего не менять, уберите это назначение"
            }
            Self::MixedForms => {
                "одиночное назначение на верхнем уровне не может стоять рядом с [[assignment]]"
            }
            Self::NoAssignment => "нет ни одного назначения",
            Self::BadToken(fault) => match fault {
                TokenFault::Empty => "токен пуст",
                TokenFault::TooLong => "токен длиннее 128 символов",
                TokenFault::NotVisibleAscii => {
                    "в токене есть символ, который не относится к видимым символам ASCII"
                }
                TokenFault::ReservedPrefix => {
                    "токен начинается с `relinkd:`: так помечены зашифрованные токены"
                }
                TokenFault::Pattern => "токен не соответствует portal.token_pattern",
            },
            Self::UserTwice { first } => return format!("тот же `telegram_id` уже указан в {first}"),
            Self::TokenTwice { first } => return format!("тот же токен уже указан в {first}"),
            Self::UnknownUser => "нет пользователя с таким `telegram_id`",
            Self::TokenHeld => "этот токен принадлежит другому пользователю",
            Self::Unreadable => {
                "relinkd не может открыть или прочитать файл: не дают права доступа (chmod g+r) или его держит другая программа (lease)"
            }
            Self::WriteRefused => {
                "база данных отвергает запись для одного из пользователей файла; причина — в журнале relinkd"
            }
        };
        text.to_owned()
    }
}
