//! Percent-decoding, strictly: what is no escape is a fault, and so is what does not decode to text.

use zeroize::Zeroizing;

use super::DatabaseFault;

/// Decodes `text`. `+` is a plus, as in libpq.
pub(super) fn decode(text: &str) -> Result<Zeroizing<String>, DatabaseFault> {
    // As long as it can get, so that it does not grow, which would leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let [high, low, after @ ..] = after else { return Err(BAD_ESCAPE) };
            let byte = hex(*high)? << 4 | hex(*low)?;
            if byte == 0 {
                return Err(BAD_ESCAPE);
            }
            bytes.push(byte);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| BAD_ESCAPE)
}

const BAD_ESCAPE: DatabaseFault =
    DatabaseFault::Form("has a bad %-escape: after `%` stand two hexadecimal digits, and `%` itself is %25");

fn hex(digit: u8) -> Result<u8, DatabaseFault> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(BAD_ESCAPE)
}
