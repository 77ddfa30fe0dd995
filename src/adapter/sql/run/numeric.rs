//! PostgreSQL's `numeric` on the wire: base-10000 digits. Read and written digit by digit, so nothing is rounded.

const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITE: u16 = 0xD000;
const MINUS_INFINITE: u16 = 0xF000;

/// Plain decimal text of a wire value, with as many decimals as the value has: `-12.50`.
///
/// # Errors
/// If the bytes are not a `numeric`.
pub fn decode(bytes: &[u8]) -> Result<String, String> {
    let words: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let [count, weight, sign, scale, digits @ ..] = words.as_slice() else {
        return Err("a numeric value is cut off".to_owned());
    };
    match *sign {
        NOT_A_NUMBER => return Ok("NaN".to_owned()),
        INFINITE => return Ok("Infinity".to_owned()),
        MINUS_INFINITE => return Ok("-Infinity".to_owned()),
        _ => {}
    }
    if digits.len() != usize::from(*count) || digits.iter().any(|digit| *digit > 9999) {
        return Err("a numeric value is malformed".to_owned());
    }
    let weight = i32::from(weight.cast_signed());
    // `position` counts groups of four digits from the decimal point: 0 is the group just left of it.
    let group = |position: i32| {
        usize::try_from(weight - position).ok().and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let mut text = String::from(if *sign == NEGATIVE { "-" } else { "" });
    let whole: String = (0..=weight.max(0)).rev().map(|position| format!("{:04}", group(position))).collect();
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    let scale = usize::from(*scale);
    if scale > 0 {
        let groups = i32::try_from(scale.div_ceil(4)).unwrap_or(i32::MAX);
        let fraction: String = (1..=groups).map(|below| format!("{:04}", group(-below))).collect();
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Ok(text)
}

/// Wire value of a plain decimal text.
///
/// # Errors
/// If the text is not a plain decimal number.
pub fn encode(text: &str) -> Result<Vec<u8>, String> {
    let plain = super::value::plain_decimal(text).ok_or("is not a number")?;
    let (negative, digits) = plain.strip_prefix('-').map_or((false, plain.as_str()), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let padded = format!("{whole}{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let mut groups = padded
        .as_bytes()
        .chunks(4)
        .map(|four| four.iter().fold(0_u16, |group, digit| group * 10 + u16::from(digit - b'0')))
        .collect::<Vec<_>>();
    let mut weight = whole.len() / 4;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    let trailing = groups.iter().rev().take_while(|group| **group == 0).count();
    groups.truncate(groups.len() - trailing);
    let too_long = |_| "has too many digits".to_owned();
    let weight = if groups.is_empty() {
        0
    } else {
        let below = i32::try_from(leading).map_err(too_long)?;
        weight = weight.saturating_sub(1);
        i16::try_from(i32::try_from(weight).map_err(too_long)? - below).map_err(|_| "has too many digits".to_owned())?
    };
    let count = u16::try_from(groups.len()).map_err(too_long)?;
    let scale = u16::try_from(fraction.len()).ok().filter(|scale| *scale < 0x4000).ok_or("has too many decimals")?;
    let sign = if negative && !groups.is_empty() { NEGATIVE } else { 0 };
    let head = [count, weight.cast_unsigned(), sign, scale];
    Ok(head.into_iter().chain(groups).flat_map(u16::to_be_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_survives_the_wire() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1",
            "12.50",
            "-12.50",
            "10000",
            "99999999.9999",
            "0.0001",
            "0.00001",
            "-0.1234567890123456789012345678901234567890",
            "123456789012345678901234567890123456789012345678901234567890.5",
            "100000000",
        ] {
            assert_eq!(decode(&encode(text).unwrap()).as_deref(), Ok(text), "{text}");
        }
    }

    #[test]
    fn exponents_and_signs_are_understood() {
        let again = |text: &str| decode(&encode(text).unwrap()).unwrap();
        assert_eq!(again("1.5e3"), "1500");
        assert_eq!(again("+12E-3"), "0.012");
        assert_eq!(again("-0"), "0");
        assert!(encode("12,5").is_err());
        assert!(encode("").is_err());
        assert!(encode("1e999999999").is_err());
    }

    #[test]
    fn what_is_not_a_numeric_is_an_error() {
        assert!(decode(&[0, 1]).is_err());
        assert!(decode(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 1]).is_err());
        assert_eq!(decode(&[0, 0, 0, 0, 0xC0, 0, 0, 0]).as_deref(), Ok("NaN"));
    }
}
