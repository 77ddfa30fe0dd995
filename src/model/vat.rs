//! Tax numbers: Spanish NIF, NIE and CIF, and the VAT numbers of the European Union. Normalises and checks them.
//!
//! A number that does not fit is a doubt, never a refusal: shops take what people type, a sale is worth more than a
//! digit, and not every public rule is complete. Formats are those of VIES; check digits are calculated for ES, PT,
//! FR, DE, IT.

/// What is wrong with a tax number. The text never shows the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    #[error("does not have the form of a VAT number of {0}")]
    Form(&'static str),
    #[error("has a check digit that does not fit a VAT number of {0}; a digit may be mistyped")]
    CheckDigit(&'static str),
}

/// The number in capitals, without spaces, dots, dashes and the like.
#[must_use]
pub fn normalize(text: &str) -> String {
    text.to_uppercase().chars().filter(|letter| letter.is_alphanumeric()).collect()
}

/// The comparable form of a number, equal for two spellings: normalised, and without prefix if it is Spanish. Empty
/// if the text cannot be a tax number, so it never matches.
#[must_use]
pub fn comparable(text: &str) -> String {
    let number = normalize(text);
    if !number.chars().any(|letter| letter.is_ascii_digit()) || number.len() < 5 {
        return String::new();
    }
    match number.strip_prefix("ES") {
        Some(national) if is_spanish(national) => national.to_owned(),
        _ => match number.strip_prefix("GR") {
            Some(rest) => format!("EL{rest}"),
            None => number,
        },
    }
}

/// Check a number. It passes if it fits, or if its country is unknown.
///
/// # Errors
/// See [`Doubt`].
pub fn check(text: &str) -> Result<(), Doubt> {
    let number = comparable(text);
    if is_spanish(&number) {
        return if spanish(&number) { Ok(()) } else { Err(Doubt::CheckDigit("ES")) };
    }
    let Some((country, forms)) = FORMS.iter().find(|(country, _)| number.starts_with(country)) else { return Ok(()) };
    let national = &number[2..];
    if !forms.split('|').any(|form| has_form(national, form)) {
        return Err(Doubt::Form(country));
    }
    let digits: Vec<u32> = national.chars().filter_map(|digit| digit.to_digit(10)).collect();
    let fits = match *country {
        "PT" => portuguese(&digits),
        "FR" => digits.len() != 11 || french(&digits),
        "DE" => german(&digits),
        "IT" => luhn(&digits),
        // A Spanish number that fits has already returned above.
        "ES" => false,
        _ => true,
    };
    if fits { Ok(()) } else { Err(Doubt::CheckDigit(country)) }
}

/// Country to formats: `9` is a digit, `A` a letter, `X` either; anything else stands for itself.
const FORMS: [(&str, &str); 28] = [
    ("AT", "U99999999"),
    ("BE", "0999999999|1999999999"),
    ("BG", "999999999|9999999999"),
    ("CY", "99999999A"),
    ("CZ", "99999999|999999999|9999999999"),
    ("DE", "999999999"),
    ("DK", "99999999"),
    ("EE", "999999999"),
    ("EL", "999999999"),
    ("ES", "X9999999X"),
    ("FI", "99999999"),
    ("FR", "XX999999999"),
    ("HR", "99999999999"),
    ("HU", "99999999"),
    ("IE", "9999999A|9999999AA|9X99999A"),
    ("IT", "99999999999"),
    ("LT", "999999999|999999999999"),
    ("LU", "99999999"),
    ("LV", "99999999999"),
    ("MT", "99999999"),
    ("NL", "999999999B99"),
    ("PL", "9999999999"),
    ("PT", "999999999"),
    ("RO", "99|999|9999|99999|999999|9999999|99999999|999999999|9999999999"),
    ("SE", "999999999999"),
    ("SI", "99999999"),
    ("SK", "9999999999"),
    ("XI", "999999999|999999999999"),
];

fn has_form(number: &str, form: &str) -> bool {
    number.len() == form.len()
        && number.chars().zip(form.chars()).all(|(letter, form)| match form {
            '9' => letter.is_ascii_digit(),
            'A' => letter.is_ascii_uppercase(),
            'X' => letter.is_ascii_digit() || letter.is_ascii_uppercase(),
            other => letter == other,
        })
}

/// Whether a number has the format of a Spanish one: eight digits and a letter, or a letter, seven digits and a
/// letter or digit.
fn is_spanish(number: &str) -> bool {
    has_form(number, "99999999A")
        || (number.starts_with(|first: char| "ABCDEFGHJKLMNPQRSUVWXYZ".contains(first))
            && has_form(number, "A9999999X"))
}

/// The check letter of a NIF or NIE, or the check digit or letter of a CIF. Sources disagree on which kinds of
/// company have a letter, so either is accepted.
fn spanish(number: &str) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    const OF_COMPANIES: &[u8; 10] = b"JABCDEFGHI";
    let (Some(first), Some(last)) = (number.chars().next(), number.bytes().last()) else { return false };
    let whole = match first {
        '0'..='9' => number[..8].to_owned(),
        'X' => format!("0{}", &number[1..8]),
        'Y' => format!("1{}", &number[1..8]),
        'Z' => format!("2{}", &number[1..8]),
        // Children, residents abroad, foreigners without NIE: the letter follows from the seven digits.
        'K' | 'L' | 'M' => number[1..8].to_owned(),
        _ => {
            let digits = number[1..8].bytes().map(|digit| usize::from(digit - b'0'));
            let sum: usize = digits
                .enumerate()
                .map(|(at, digit)| if at % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
                .sum();
            let check = (10 - sum % 10) % 10;
            return last == OF_COMPANIES[check] || usize::from(last) == usize::from(b'0') + check;
        }
    };
    whole.parse::<usize>().is_ok_and(|whole| LETTERS[whole % 23] == last)
}

fn portuguese(digits: &[u32]) -> bool {
    let sum: u32 = digits.iter().take(8).zip((2..=9).rev()).map(|(digit, weight)| digit * weight).sum();
    let check = match 11 - sum % 11 {
        10 | 11 => 0,
        check => check,
    };
    digits.get(8) == Some(&check)
}

/// Two digits that follow from the nine digits of the company's number, whose last digit is a check digit of its
/// own.
fn french(digits: &[u32]) -> bool {
    let number = |digits: &[u32]| digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(*digit));
    let (key, company) = digits.split_at(2);
    number(key) == (12 + 3 * (number(company) % 97)) % 97
}

/// ISO 7064, mod 11, 10.
fn german(digits: &[u32]) -> bool {
    let product = digits.iter().take(8).fold(10, |product, digit| {
        let sum = (digit + product) % 10;
        2 * (if sum == 0 { 10 } else { sum }) % 11
    });
    digits.get(8) == Some(&((11 - product) % 10))
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| if at % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { *digit })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_that_fit_are_not_doubted() {
        for number in [
            "12345678Z",
            "12.345.678-z",
            "ES12345678Z",
            "X1234567L",
            "Y-1234567-X",
            "Z1234567R",
            "K1234567L",
            "A58818501",
            "es a-58818501",
            "B12345674",
            "PT501442600",
            "FR40303265045",
            "FRK7399859412",
            "DE136695976",
            "IT00743110157",
            "ATU13585627",
            "NL004495445B01",
            "GR094259216",
        ] {
            assert_eq!(check(number), Ok(()), "{number}");
        }
    }

    #[test]
    fn a_mistyped_digit_is_doubted_and_never_shown() {
        for number in [
            "12345678A",
            "X1234567A",
            "K1234567A",
            "A58818502",
            "PT501442601",
            "FR41303265045",
            "DE136695978",
            "IT00743110158",
        ] {
            let doubt = check(number).unwrap_err();
            assert!(matches!(doubt, Doubt::CheckDigit(_)), "{number}");
            assert!(!doubt.to_string().contains(number));
        }
        for (number, country) in [("DE12345", "DE"), ("ATU1358562", "AT"), ("ES123", "ES"), ("ESA1", "ES")] {
            assert!(matches!(check(number), Ok(()) | Err(Doubt::Form(_))), "{number}");
            assert_eq!(check(&format!("{number}0000000000")), Err(Doubt::Form(country)), "{number}");
        }
    }

    #[test]
    fn nothing_is_said_of_numbers_whose_country_is_not_known() {
        for number in ["", "-", "123", "CHE123456789", "501442600", "no tiene"] {
            assert_eq!(check(number), Ok(()), "{number}");
        }
    }

    #[test]
    fn spellings_of_one_number_compare_equal() {
        for number in ["b-12345674", " ES B12345674", "ESB12345674", "B.12345674"] {
            assert_eq!(comparable(number), "B12345674", "{number}");
        }
        assert_eq!(comparable("GR 094259216"), comparable("EL094259216"));
        assert_ne!(comparable("PT501442600"), comparable("501442600"), "another country's number may read alike");
        for text in ["", "  ", "-", "no tiene", "0", "n/a"] {
            assert_eq!(comparable(text), "", "{text} is no number and matches nobody");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_check_panic(text in ".{0,16}", number in "(ES|PT|FR|DE|IT|EL)?[A-Z0-9]{0,12}") {
            let _ = check(&text);
            let _ = check(&number);
            prop_assert_eq!(comparable(&comparable(&text)), comparable(&text));
        }
    }
}
