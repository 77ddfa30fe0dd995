//! Reads the ERP's side by SQL from its own tables.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{Side, number, seen};

/// Read what the shop should show.
///
/// # Errors
/// If the database fails.
pub async fn read(erp: &mut SqliteConnection, duplicates: &mut Vec<String>) -> sqlx::Result<Side> {
    let mut side = Side::default();
    let families = "SELECT f.codigo, f.nombre_es, coalesce(p.codigo, '') AS padre FROM familia f \
                    LEFT JOIN familia p ON p.id = f.padre_id WHERE f.activa";
    for row in sqlx::query(families).fetch_all(&mut *erp).await? {
        let name = seen(&text(&row, "nombre_es")?);
        side.put("categories", text(&row, "codigo")?, format!("«{name}» below «{}»", text(&row, "padre")?));
    }
    let articles = "SELECT a.*, f.codigo AS familia, t.porcentaje FROM articulo a JOIN familia f ON f.id = a.familia_id \
                    JOIN tipo_iva t ON t.codigo = a.tipo_iva WHERE a.web AND NOT a.baja";
    for row in sqlx::query(articles).fetch_all(&mut *erp).await? {
        let sku = text(&row, "referencia")?;
        let fact = format!("in {}, tax {}, for sale", text(&row, "familia")?, text(&row, "tipo_iva")?);
        side.put("products", sku.clone(), fact);
        let words = format!("«{}» {}", seen(&text(&row, "nombre_es")?), seen(&text(&row, "descripcion_es")?));
        side.put("texts", sku, words);
    }
    let formats = "SELECT f.*, a.referencia AS articulo, a.opcion1, a.opcion2 FROM formato f \
                   JOIN articulo a ON a.id = f.articulo_id WHERE a.web AND NOT a.baja AND f.activo";
    for row in sqlx::query(formats).fetch_all(&mut *erp).await? {
        let mut options = BTreeMap::new();
        for (name, value) in [("opcion1", "valor1"), ("opcion2", "valor2")] {
            let name = text(&row, name)?;
            if !name.is_empty() {
                options.insert(name, text(&row, value)?);
            }
        }
        let fact = format!(
            "of {}, {}, {} kg, EAN {}",
            text(&row, "articulo")?,
            super::company::options(&options),
            number(&text(&row, "peso")?),
            text(&row, "ean")?
        );
        side.put("variants", text(&row, "referencia")?, fact);
    }
    customers(erp, &mut side, duplicates).await?;
    orders(erp, &mut side, duplicates).await?;
    papers(erp, &mut side).await?;
    Ok(side)
}

/// Options in the same spelling for both sides.
pub fn options(options: &BTreeMap<String, String>) -> String {
    if options.is_empty() {
        return "no options".to_owned();
    }
    options.iter().map(|(name, value)| format!("{name} {}", seen(value))).collect::<Vec<_>>().join(", ")
}

async fn customers(erp: &mut SqliteConnection, side: &mut Side, duplicates: &mut Vec<String>) -> sqlx::Result<()> {
    let people = "SELECT c.*, d.calle, d.cp, d.poblacion FROM cliente c \
                  LEFT JOIN direccion d ON d.cliente_id = c.id AND d.tipo = 'F' WHERE c.web AND NOT c.baja";
    for row in sqlx::query(people).fetch_all(&mut *erp).await? {
        let key = text(&row, "email")?.to_lowercase();
        if side.kinds.get("customers").is_some_and(|known| known.contains_key(&key)) {
            duplicates.push(format!("a customer is in the ERP twice (code {})", text(&row, "codigo")?));
        }
        let fact = format!(
            "{} {}, {}, {}, {} {} {}",
            text(&row, "nombre")?,
            text(&row, "apellidos")?,
            text(&row, "razon_social")?,
            text(&row, "telefono")?,
            text(&row, "calle")?,
            text(&row, "cp")?,
            text(&row, "poblacion")?,
        );
        side.put("customers", key, seen(&fact));
    }
    Ok(())
}

async fn orders(erp: &mut SqliteConnection, side: &mut Side, duplicates: &mut Vec<String>) -> sqlx::Result<()> {
    let twice = "SELECT numero_web, count(*) AS veces FROM pedido GROUP BY numero_web HAVING count(*) > 1";
    for row in sqlx::query(twice).fetch_all(&mut *erp).await? {
        let times: i64 = row.try_get("veces")?;
        duplicates.push(format!("order {} is in the ERP {times} times", text(&row, "numero_web")?));
    }
    let sales = "SELECT p.*, c.email AS cuenta FROM pedido p LEFT JOIN cliente c ON c.id = p.cliente_id";
    for row in sqlx::query(sales).fetch_all(&mut *erp).await? {
        let number_web = text(&row, "numero_web")?;
        let account = text(&row, "cuenta")?.to_lowercase();
        let fact = format!(
            "{} {}, tax {}, shipping {}, {}, to {} {}",
            number(&text(&row, "total")?),
            text(&row, "moneda")?,
            number(&text(&row, "total_iva")?),
            number(&text(&row, "portes")?),
            if account.is_empty() { "guest".to_owned() } else { format!("account {account}") },
            text(&row, "factura_cp")?,
            seen(&text(&row, "factura_poblacion")?),
        );
        side.put("orders", number_web.clone(), fact);
        let status = match text(&row, "estado")?.as_str() {
            "PENDIENTE" | "PREPARACION" => "processing",
            "ENVIADO" => "completed",
            "ANULADO" => "cancelled",
            _ => "unknown",
        };
        side.put("order status", number_web, status.to_owned());
    }
    let lines = "SELECT p.numero_web, l.* FROM pedido_linea l JOIN pedido p ON p.id = l.pedido_id ORDER BY l.id";
    for row in sqlx::query(lines).fetch_all(&mut *erp).await? {
        let key = format!("{}/{}", text(&row, "numero_web")?, text(&row, "linea_web")?);
        if side.kinds.get("order lines").is_some_and(|known| known.contains_key(&key)) {
            duplicates.push(format!("order line {key} is in the ERP twice"));
        }
        let fact = format!(
            "{} × {} = {}",
            number(&text(&row, "cantidad")?),
            text(&row, "referencia")?,
            number(&text(&row, "total")?)
        );
        side.put("order lines", key, fact);
    }
    Ok(())
}

/// What a customer should see of an order in addition to its state.
async fn papers(erp: &mut SqliteConnection, side: &mut Side) -> sqlx::Result<()> {
    let sent = "SELECT a.*, p.numero_web FROM albaran a JOIN pedido p ON p.id = a.pedido_id";
    for row in sqlx::query(sent).fetch_all(&mut *erp).await? {
        let fact = format!("{}, {} {}", text(&row, "numero_web")?, text(&row, "agencia")?, text(&row, "seguimiento")?);
        side.put("shipments", text(&row, "numero")?, fact);
    }
    let billed = "SELECT f.*, p.numero_web FROM factura f JOIN pedido p ON p.id = f.pedido_id";
    for row in sqlx::query(billed).fetch_all(&mut *erp).await? {
        let fact = format!(
            "{}, {} {} of which tax {}, {}",
            text(&row, "numero_web")?,
            number(&text(&row, "total")?),
            text(&row, "moneda")?,
            number(&text(&row, "iva")?),
            text(&row, "documento")?
        );
        side.put("invoices", text(&row, "numero")?, fact);
    }
    Ok(())
}

/// A column as text. A null is empty.
pub fn text(row: &SqliteRow, column: &str) -> sqlx::Result<String> {
    row.try_get::<Option<String>, _>(column).map(Option::unwrap_or_default)
}
