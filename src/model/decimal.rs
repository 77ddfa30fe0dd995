//! Exact decimals of at most 28 significant digits; input is never rounded.

use rust_decimal::Decimal;

/// The decimal that `text` writes (`-12.50`, `1e3`). Return `None` if it is not a number or cannot be held exactly.
#[must_use]
pub fn parse(text: &str) -> Option<Decimal> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if (whole.is_empty() && fraction.is_empty()) || !mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    if fraction.contains('.') {
        return None;
    }
    let mut value: i128 = 0;
    let mut scale = -i64::from(exponent);
    // Count the zeros at the end first: beyond the 28 digits they cost nothing.
    let mut zeros: u32 = 0;
    for (index, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let after_point = index >= whole.len();
        scale = scale.checked_add(i64::from(after_point))?;
        if digit == b'0' {
            zeros = zeros.checked_add(1)?;
            continue;
        }
        value = shifted(value, zeros + 1)?.checked_add(i128::from(digit - b'0'))?;
        zeros = 0;
    }
    if value == 0 {
        let scale = u32::try_from(scale.clamp(0, 28)).ok()?;
        return Some(Decimal::new(0, scale));
    }
    // Keep as many of the zeros at the end as the scale asks for, so `1.50` stays `1.50`.
    while zeros > 0 && scale <= 28 {
        match shifted(value, 1) {
            Some(more) if more.unsigned_abs() < 10_u128.pow(28) => value = more,
            _ => break,
        }
        zeros -= 1;
    }
    scale = scale.checked_sub(i64::from(zeros))?;
    if scale < 0 {
        value = shifted(value, u32::try_from(-scale).ok()?)?;
        scale = 0;
    }
    if value.unsigned_abs() >= 10_u128.pow(28) {
        return None;
    }
    let value = if negative { -value } else { value };
    Decimal::try_from_i128_with_scale(value, u32::try_from(scale).ok()?).ok()
}

fn shifted(value: i128, digits: u32) -> Option<i128> {
    if value == 0 { Some(0) } else { 10_i128.checked_pow(digits).and_then(|factor| value.checked_mul(factor)) }
}

/// The only way to write a decimal in a canonical object: no exponent, no superfluous zeros, no negative zero.
#[must_use]
pub fn canonical(value: Decimal) -> String {
    value.normalize().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        for (text, read) in [
            ("0", "0"),
            ("-0", "0"),
            ("1.50", "1.50"),
            ("-12.5", "-12.5"),
            ("+3", "3"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.5E-3", "0.0015"),
            ("100e-2", "1.00"),
            ("1234567890123456789012345678", "1234567890123456789012345678"),
            ("0.0000000000000000000000000001", "0.0000000000000000000000000001"),
            ("0.10000000000000000000000000000000000000", "0.1"),
        ] {
            assert_eq!(parse(text).map(|d| d.to_string()).as_deref(), Some(read), "{text}");
        }
        for text in ["", "-", ".", "1.2.3", "1,5", "abc", "NaN", "inf", "1e", "1e99999999999", "1e400", "0x10", "1 000"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["12345678901234567890123456789", "0.00000000000000000000000000001", "1e-30", "99999e24"] {
            assert_eq!(parse(text), None, "{text} has too many digits");
        }
    }

    #[test]
    fn canonical_text_has_no_superfluous_zeros() {
        for (text, canon) in [("1.50", "1.5"), ("100", "100"), ("0.00", "0"), ("-0.0", "0"), ("1e3", "1000")] {
            assert_eq!(canonical(parse(text).unwrap()), canon);
        }
    }

    proptest! {
        #[test]
        fn what_a_decimal_writes_is_read_back(mantissa in -9_999_999_999_999_999_999_999_999_999_i128..=9_999_999_999_999_999_999_999_999_999, scale in 0_u32..=28) {
            let value = Decimal::from_i128_with_scale(mantissa, scale);
            prop_assert_eq!(parse(&value.to_string()), Some(value));
            prop_assert_eq!(parse(&value.to_string()).map(|d| d.scale()), Some(value.scale()));
            prop_assert_eq!(parse(&canonical(value)), Some(value));
        }

        #[test]
        fn no_text_makes_reading_panic(text in ".*", number in "[-+]?[0-9]{0,40}\\.?[0-9]{0,40}([eE][-+]?[0-9]{1,11})?") {
            let _ = parse(&text);
            let _ = parse(&number);
        }
    }
}
