//! Lengths of time as the configuration writes them: `500ms`, `30s`, `10m`, `1h`, `400d`.

use std::time::Duration;

/// Ten years: whoever writes more has mistaken the unit.
const MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
const FORM: &str = "must be a whole number and a unit, as in \"500ms\", \"30s\", \"10m\", \"1h\" or \"400d\"";
const ZERO: &str = "must be more than nothing, as in \"30s\"";
const TOO_LONG: &str = "must not be longer than ten years (\"3650d\")";

/// Reads a whole number and its unit, without a blank between.
pub(crate) fn parse(text: &str) -> Result<Duration, &'static str> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(60 * 60),
        "d" => Duration::from_secs(24 * 60 * 60),
        _ => return Err(FORM),
    };
    if number.is_empty() {
        return Err(FORM);
    }
    match number.parse().ok().and_then(|number| unit.checked_mul(number)) {
        Some(Duration::ZERO) => Err(ZERO),
        Some(period) if period <= MAX => Ok(period),
        _ => Err(TOO_LONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_five_units() {
        let cases = [
            ("500ms", 500),
            ("1ms", 1),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("400d", 34_560_000_000),
            ("007s", 7000),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse("3650d"), Ok(MAX));
    }

    #[test]
    fn refuses_everything_else() {
        let form = ["", "30", "s", "30 s", " 30s", "30S", "30sec", "1w", "+1s", "-1s", "1.5h", "1h30m", "٣s"];
        for text in form {
            assert_eq!(parse(text), Err(FORM), "{text:?}");
        }
        for text in ["0s", "0ms", "00h"] {
            assert_eq!(parse(text), Err(ZERO), "{text:?}");
        }
        for text in ["3651d", "4294967295h", "99999999999999999999s"] {
            assert_eq!(parse(text), Err(TOO_LONG), "{text:?}");
        }
    }
}
