//! Generates customers: persons and companies whose tax numbers have correct check characters.

use super::seed::Seed;

const NAMES: [&str; 20] = [
    "María", "José", "Lucía", "Andrés", "Begoña", "Íñigo", "Nerea", "Joaquín", "Inés", "Óscar", "Carmen", "Raúl",
    "Sofía", "Ángel", "Núria", "Martín", "Elena", "Xabier", "Aitana", "Manuel",
];
const SURNAMES: [&str; 20] = [
    "García", "Núñez", "López", "Ibáñez", "Peña", "Muñoz", "Vázquez", "Ortega", "Saiz", "Zubiri", "Castaño", "Roldán",
    "Ferrer", "Quintana", "Ruiz", "Belmonte", "Díaz", "Serrano", "Oliva", "Yáñez",
];
const TRADES: [&str; 10] = [
    "Reformas",
    "Construcciones",
    "Instalaciones",
    "Pinturas",
    "Fontanería",
    "Jardinería",
    "Carpintería",
    "Montajes",
    "Cerrajería",
    "Suministros",
];
const FORMS: [&str; 3] = ["S.L.", "S.A.", "S.L.U."];
const STREETS: [&str; 10] = [
    "Calle Mayor",
    "Avenida de la Constitución",
    "Calle del Olmo",
    "Plaza de España",
    "Calle Ñuble",
    "Paseo del Río",
    "Camino Viejo",
    "Ronda Norte",
    "Calle San José",
    "Travesía del Sol",
];
/// Town, province, and the first three digits of its postcodes.
const TOWNS: [(&str, &str, &str); 10] = [
    ("Madrid", "Madrid", "280"),
    ("Alcalá de Henares", "Madrid", "288"),
    ("Logroño", "La Rioja", "260"),
    ("Cáceres", "Cáceres", "100"),
    ("Santa Cruz de Tenerife", "Santa Cruz de Tenerife", "380"),
    ("Las Palmas de Gran Canaria", "Las Palmas", "350"),
    ("A Coruña", "A Coruña", "150"),
    ("L'Hospitalet de Llobregat", "Barcelona", "089"),
    ("Málaga", "Málaga", "290"),
    ("Donostia", "Gipuzkoa", "200"),
];

/// An address as the ERP writes it.
#[derive(Clone, Debug)]
pub struct Address {
    pub street: String,
    pub line2: Option<String>,
    pub postcode: String,
    pub town: String,
    pub province: String,
}

/// A customer. A company's `first` and `last` name its contact.
#[derive(Clone, Debug)]
pub struct Person {
    pub company: Option<String>,
    pub first: String,
    pub last: String,
    pub vat: String,
    pub email: String,
    pub phone: String,
    pub billing: Address,
    pub delivery: Option<Address>,
}

/// The `number`th customer. The number makes the tax number and the e-mail address unique.
#[must_use]
pub fn person(seed: &Seed, number: u64, company: bool) -> Person {
    let mut seed = seed.fork(number + 1);
    let first = *seed.pick(&NAMES);
    let last = format!("{} {}", seed.pick(&SURNAMES), seed.pick(&SURNAMES));
    let name = company.then(|| format!("{} {} {}", seed.pick(&TRADES), seed.pick(&SURNAMES), seed.pick(&FORMS)));
    let vat = if company {
        company_number(seed.between(10, 52) * 100_000 + number)
    } else {
        person_number(seed.between(100, 799) * 100_000 + number)
    };
    let email = format!("{}.{number}@correo.example", ascii(first));
    let phone = format!("+34 6{:08}", seed.below(100_000_000));
    let billing = address(&mut seed);
    let delivery = seed.chance(60).then(|| address(&mut seed));
    Person { company: name, first: first.to_owned(), last, vat, email, phone, billing, delivery }
}

fn address(seed: &mut Seed) -> Address {
    let (town, province, zone) = *seed.pick(&TOWNS);
    Address {
        street: format!("{}, {}", seed.pick(&STREETS), seed.between(1, 180)),
        line2: seed.chance(30).then(|| format!("{}º {}", seed.between(1, 8), seed.pick(&["A", "B", "C", "Izda."]))),
        postcode: format!("{zone}{:02}", seed.between(1, 40)),
        town: town.to_owned(),
        province: province.to_owned(),
    }
}

/// NIF of a person: eight digits and the letter that follows from them modulo 23.
#[must_use]
pub fn person_number(digits: u64) -> String {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let digits = digits % 100_000_000;
    let letter = LETTERS[usize::try_from(digits % 23).unwrap_or(0)];
    format!("{digits:08}{}", char::from(letter))
}

/// NIF of a limited company: `B`, seven digits, and a control digit (odd positions doubled and their digits added).
#[must_use]
pub fn company_number(digits: u64) -> String {
    let text = format!("{:07}", digits % 10_000_000);
    let sum: u32 = text
        .bytes()
        .enumerate()
        .map(|(index, byte)| {
            let digit = u32::from(byte - b'0');
            if index % 2 == 0 { (digit * 2) / 10 + (digit * 2) % 10 } else { digit }
        })
        .sum();
    format!("B{text}{}", (10 - sum % 10) % 10)
}

/// A name in the spelling for an e-mail address.
fn ascii(name: &str) -> String {
    name.to_lowercase()
        .chars()
        .map(|letter| match letter {
            'á' => 'a',
            'é' => 'e',
            'í' => 'i',
            'ó' => 'o',
            'ú' | 'ü' => 'u',
            'ñ' => 'n',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tax_numbers_carry_the_right_check_characters() {
        assert_eq!(person_number(12_345_678), "12345678Z");
        assert_eq!(company_number(5_881_850), "B58818501");
        assert_eq!(company_number(8_305_827), "B83058271");
    }
}
