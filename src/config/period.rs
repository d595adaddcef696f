//! Lengths of time as the configuration writes them: `500ms`, `30s`, `10m`, `1h`.

use std::time::Duration;

use thiserror::Error;

/// The longest period: a year. Whoever writes more has mistaken the unit.
const MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Reads a whole number and its unit, without a blank between.
///
/// # Errors
/// Another form, nothing at all, or more than a year.
pub(super) fn parse(text: &str) -> Result<Duration, PeriodFault> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(60 * 60),
        _ => return Err(PeriodFault::Form),
    };
    if number.is_empty() {
        return Err(PeriodFault::Form);
    }
    let period =
        number.parse().ok().and_then(|number| unit.checked_mul(number)).ok_or(PeriodFault::TooLong)?;
    if period.is_zero() {
        return Err(PeriodFault::Zero);
    }
    if period > MAX {
        return Err(PeriodFault::TooLong);
    }
    Ok(period)
}

/// Why a text is no period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum PeriodFault {
    #[error("must be a whole number and a unit, as in \"500ms\", \"30s\", \"10m\" or \"1h\"")]
    Form,
    #[error("must be more than nothing, as in \"30s\"")]
    Zero,
    #[error("must not be longer than a year (\"8760h\")")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_four_units() {
        let cases = [
            ("500ms", 500),
            ("1ms", 1),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("007s", 7000),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse("8760h"), Ok(MAX));
    }

    #[test]
    fn refuses_everything_else() {
        let form = ["", "30", "s", "30 s", " 30s", "30S", "30sec", "1d", "+1s", "-1s", "1.5h", "1h30m", "٣s"];
        for text in form {
            assert_eq!(parse(text), Err(PeriodFault::Form), "{text:?}");
        }
        for text in ["0s", "0ms", "00h"] {
            assert_eq!(parse(text), Err(PeriodFault::Zero), "{text:?}");
        }
        for text in ["8761h", "4294967295h", "99999999999999999999s"] {
            assert_eq!(parse(text), Err(PeriodFault::TooLong), "{text:?}");
        }
    }
}
