//! Codes with a published list: currencies (ISO 4217), countries (ISO 3166-1), languages (BCP 47, by shape).

const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF \
CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS \
INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR \
MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS \
SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR \
ZMW ZWG";

/// The codes of ISO 3166-1, and other codes that customs, carriers and shops use: `XK` Kosovo, `XI` Northern
/// Ireland, `IC` the Canary Islands, `EA` Ceuta and Melilla.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW \
BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EA EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD \
GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU IC ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP \
KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG \
NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR \
SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XI XK YE YT ZA ZM ZW";

fn listed(list: &str, code: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == code)
}

/// All currency codes.
pub fn currencies() -> impl Iterator<Item = &'static str> {
    CURRENCIES.split_ascii_whitespace()
}

/// All country codes.
pub fn countries() -> impl Iterator<Item = &'static str> {
    COUNTRIES.split_ascii_whitespace()
}

/// Whether `code` (upper case) is a currency in use.
#[must_use]
pub fn is_currency(code: &str) -> bool {
    listed(CURRENCIES, code)
}

/// Digits after the point in a currency's minor unit (ISO 4217): usually 2, others for example for yen and dinars.
#[must_use]
pub fn minor_digits(currency: &str) -> u32 {
    const NONE: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
    const THREE: &str = "BHD IQD JOD KWD LYD OMR TND";
    match currency {
        code if listed(NONE, code) => 0,
        code if listed(THREE, code) => 3,
        _ => 2,
    }
}

/// Whether `code` (upper case) is a country.
#[must_use]
pub fn is_country(code: &str) -> bool {
    listed(COUNTRIES, code)
}

/// A language tag in its usual case (`es`, `pt-BR`, `zh-Hant`). Return `None` if `tag` does not have the shape of
/// one.
#[must_use]
pub fn language(tag: &str) -> Option<String> {
    let mut written = String::with_capacity(tag.len());
    for (index, piece) in tag.split(['-', '_']).enumerate() {
        let letters = piece.bytes().all(|byte| byte.is_ascii_alphabetic());
        let digits = piece.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let piece = match (index, piece.len()) {
            (0, 2 | 3) if letters => piece.to_ascii_lowercase(),
            (0, _) => return None,
            (_, 2) if letters => piece.to_ascii_uppercase(),
            (_, 4) if letters => piece[..1].to_ascii_uppercase() + piece[1..].to_ascii_lowercase().as_str(),
            (_, 1..=8) if digits => piece.to_ascii_lowercase(),
            _ => return None,
        };
        if index > 0 {
            written.push('-');
        }
        written.push_str(&piece);
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_outside_the_lists_are_refused() {
        assert!(is_currency("EUR") && !is_currency("EURO") && !is_currency("eur") && !is_currency(""));
        assert!(
            is_country("ES")
                && ["XK", "XI", "IC", "EA"].into_iter().all(is_country)
                && !is_country("UK")
                && !is_country("ES AT")
        );
        assert_eq!(language("pt_br").as_deref(), Some("pt-BR"));
        assert_eq!(language("zh-hant").as_deref(), Some("zh-Hant"));
        assert!(language("español").is_none() && language("").is_none() && language("e").is_none());
    }
}
