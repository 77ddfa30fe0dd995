//! Generates the demo's company from a seed: its families, articles, price lists, stock and customers.

mod people;
mod seed;
mod words;

use sqlx::SqliteConnection;

pub use people::{Person, person};
pub use seed::Seed;
use words::{Formats, LINES, Leaf, Name, Noun, TREE, Values};

/// Number of customers in the ERP before the first sync.
pub const CUSTOMERS: u64 = 200;
/// One customer in this many is a company.
const COMPANY_EVERY: u64 = 4;

/// Tax classes of the company: mainland and Canary Islands.
const TAXES: [(&str, &str, &str); 6] = [
    ("IVA21", "IVA general", "21"),
    ("IVA10", "IVA reducido", "10"),
    ("IVA4", "IVA superreducido", "4"),
    ("IGIC7", "IGIC general", "7"),
    ("IGIC3", "IGIC reducido", "3"),
    ("EXENTO", "Exento", "0"),
];
/// Warehouses, with their stock in percent of the main warehouse.
const WAREHOUSES: [(&str, &str, u64); 3] =
    [("CEN", "Almacén central", 100), ("TIE", "Tienda calle Mayor", 25), ("CAN", "Delegación Canarias", 40)];

/// Fill an empty database of `schema.sql`. The caller commits.
///
/// # Errors
/// If the database fails.
pub async fn fill(erp: &mut SqliteConnection, seed: u64) -> sqlx::Result<()> {
    let seed = Seed::new(seed);
    for (code, name, percent) in TAXES {
        sqlx::query("INSERT INTO tipo_iva VALUES (?, ?, ?)")
            .bind(code)
            .bind(name)
            .bind(percent)
            .execute(&mut *erp)
            .await?;
    }
    sqlx::query("INSERT INTO tarifa VALUES ('PVP', 'Venta al público', 'EUR', 1), ('PRO', 'Profesionales', 'EUR', 0)")
        .execute(&mut *erp)
        .await?;
    for (code, name, _) in WAREHOUSES {
        sqlx::query("INSERT INTO almacen VALUES (?, ?)").bind(code).bind(name).execute(&mut *erp).await?;
    }
    catalog(erp, &seed.fork(1)).await?;
    for number in 1..=CUSTOMERS {
        let company = number % COMPANY_EVERY == 0;
        customer(erp, &person(&seed.fork(2), number, company), number).await?;
    }
    Ok(())
}

async fn catalog(erp: &mut SqliteConnection, seed: &Seed) -> sqlx::Result<()> {
    let mut goods = Goods { erp, seed: seed.clone(), formats: 0 };
    for (position, branch) in TREE.iter().enumerate() {
        let root = goods.family(branch.code, &branch.name, None, position).await?;
        for (position, leaf) in branch.leaves.iter().enumerate() {
            let code = format!("{}-{}", branch.code, leaf.code);
            let id = goods.family(&code, &leaf.name, Some(root), position).await?;
            let family = Family { id, leaf };
            for (number, noun) in leaf.nouns.iter().enumerate() {
                for line in 0..LINES.len() {
                    goods.article(&family, noun, number, line).await?;
                }
            }
        }
    }
    Ok(())
}

/// Writes the catalog, with the choices made so far.
struct Goods<'a> {
    erp: &'a mut SqliteConnection,
    seed: Seed,
    formats: u64,
}

/// A family of articles in the ERP.
struct Family<'a> {
    id: i64,
    leaf: &'a Leaf,
}

impl Goods<'_> {
    /// Add a family, below another one or at the root.
    async fn family(&mut self, code: &str, name: &Name, parent: Option<i64>, position: usize) -> sqlx::Result<i64> {
        sqlx::query_scalar(
            "INSERT INTO familia (codigo, padre_id, nombre_es, nombre_en, orden) VALUES (?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(code)
        .bind(parent)
        .bind(name.es)
        .bind(name.en)
        .bind(as_number(position))
        .fetch_one(&mut *self.erp)
        .await
    }

    /// Add an article to a family: the noun with this number, in one of the lines.
    async fn article(&mut self, family: &Family<'_>, noun: &Noun, number: usize, line: usize) -> sqlx::Result<()> {
        let (es, en, formats) = *noun;
        let brand = *self.seed.pick(&words::BRANDS);
        let reference = format!("{}-{}{:02}", family.leaf.code, number + 1, line + 1);
        let series = LINES[line];
        let few = if formats == Formats::Wear { 4 } else { usize::try_from(self.seed.between(2, 3)).unwrap_or(2) };
        let (option1, option2, values) = words::axes(formats, few);
        let name_es = format!("{es} {brand} {series}");
        let name_en = format!("{en} {brand} {series}");
        let described = self.seed.chance(80);
        let text_es = described.then(|| {
            format!("<p>{es} de la gama <strong>{series}</strong>. Garantía de 3 años, más de 10 € de ahorro & envío en 24 h.</p>")
        });
        let text_en =
            described.then(|| format!("<p>{en} of the <strong>{series}</strong> range. 3-year warranty.</p>"));
        let per_box = self.seed.chance(30).then(|| i64::from(*self.seed.pick(&[6_u8, 10, 12, 24])));
        let article: i64 = sqlx::query_scalar(
            "INSERT INTO articulo (referencia, familia_id, nombre_es, nombre_en, descripcion_es, descripcion_en, marca, \
             tipo_iva, unidades_caja, opcion1, opcion2) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(&reference)
        .bind(family.id)
        .bind(name_es)
        .bind(name_en)
        .bind(text_es)
        .bind(text_en)
        .bind(brand)
        .bind(family.leaf.tax)
        .bind(per_box)
        .bind(option1)
        .bind(option2)
        .fetch_one(&mut *self.erp)
        .await?;
        let cents = self.seed.between(150, 9_000) + as_u64(line) * self.seed.between(100, 3_000);
        let single = values.len() == 1 && option1.is_none();
        for (index, values) in values.into_iter().enumerate() {
            let reference = if single { reference.clone() } else { format!("{reference}-{}", index + 1) };
            self.format(article, &reference, values, cents + as_u64(index) * (cents / 5)).await?;
        }
        Ok(())
    }

    async fn format(
        &mut self,
        article: i64,
        reference: &str,
        (value1, value2): Values,
        cents: u64,
    ) -> sqlx::Result<()> {
        self.formats += 1;
        let grams = self.seed.between(20, 9_000);
        let format: i64 = sqlx::query_scalar(
            "INSERT INTO formato (articulo_id, referencia, ean, valor1, valor2, peso) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(article)
        .bind(reference)
        .bind(ean(self.formats))
        .bind(value1)
        .bind(value2)
        .bind(decimal(grams, 3))
        .fetch_one(&mut *self.erp)
        .await?;
        // Consumers pay one price, because the shop has no place for quantity breaks; trade customers buy by
        // quantity.
        self.prices("PVP", format, cents, &[(1, 100)]).await?;
        let breaks: &[(i64, u64)] =
            if self.seed.chance(60) { &[(1, 100), (10, 95), (50, 88)] } else { &[(1, 100), (25, 92)] };
        self.prices("PRO", format, cents * 66 / 100, breaks).await?;
        let main = if self.seed.chance(6) { 0 } else { self.seed.between(4, 400) };
        for (warehouse, _, percent) in WAREHOUSES {
            let quantity = if percent == 100 { main } else { self.seed.below(main * percent / 100 + 1) };
            sqlx::query("INSERT INTO existencia VALUES (?, ?, ?)")
                .bind(format)
                .bind(warehouse)
                .bind(as_i64(quantity))
                .execute(&mut *self.erp)
                .await?;
        }
        Ok(())
    }

    async fn prices(&mut self, list: &str, format: i64, cents: u64, breaks: &[(i64, u64)]) -> sqlx::Result<()> {
        for (from, percent) in breaks {
            sqlx::query("INSERT INTO tarifa_linea VALUES (?, ?, ?, ?)")
                .bind(list)
                .bind(format)
                .bind(from)
                .bind(decimal(cents * percent / 100, 2))
                .execute(&mut *self.erp)
                .await?;
        }
        Ok(())
    }
}

/// Add a customer.
///
/// # Errors
/// If the database fails.
pub async fn customer(erp: &mut SqliteConnection, person: &Person, number: u64) -> sqlx::Result<()> {
    let company = person.company.is_some();
    let group = if company { "PROFESIONAL" } else { "PARTICULAR" };
    // One in twenty buys only over the counter and has no account in the shop.
    let web = number % 20 != 7;
    let customer: i64 = sqlx::query_scalar(
        "INSERT INTO cliente (codigo, tipo, nombre, apellidos, razon_social, nif, email, telefono, idioma, grupo, web) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(format!("C{number:05}"))
    .bind(if company { "J" } else { "F" })
    .bind(&person.first)
    .bind(&person.last)
    .bind(&person.company)
    .bind(&person.vat)
    .bind(&person.email)
    .bind(&person.phone)
    .bind(if number % 9 == 0 { "en" } else { "es" })
    .bind(group)
    .bind(web)
    .fetch_one(&mut *erp)
    .await?;
    for (kind, address) in std::iter::once(("F", &person.billing)).chain(person.delivery.iter().map(|it| ("E", it))) {
        sqlx::query(
            "INSERT INTO direccion (cliente_id, tipo, nombre, empresa, calle, calle2, cp, poblacion, provincia, pais, \
             telefono) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'ES', ?)",
        )
        .bind(customer)
        .bind(kind)
        .bind(format!("{} {}", person.first, person.last))
        .bind(&person.company)
        .bind(&address.street)
        .bind(&address.line2)
        .bind(&address.postcode)
        .bind(&address.town)
        .bind(&address.province)
        .bind(&person.phone)
        .execute(&mut *erp)
        .await?;
    }
    Ok(())
}

/// `units` with `places` decimals, as text.
#[must_use]
pub fn decimal(units: u64, places: u32) -> String {
    rust_decimal::Decimal::from_i128_with_scale(i128::from(units), places).to_string()
}

/// A Spanish article number with its check digit.
fn ean(number: u64) -> String {
    let body = format!("84{number:010}");
    let sum: u32 =
        body.bytes().enumerate().map(|(at, byte)| u32::from(byte - b'0') * if at % 2 == 0 { 1 } else { 3 }).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn as_number(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn as_u64(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_article_number_ends_in_its_check_digit() {
        assert_eq!(ean(0), "8400000000000");
        assert_eq!(ean(1), "8400000000017");
    }
}
