//! The files that the ERP puts into its export folder: the price lists as its program writes them (Windows-1252,
//! `;`, decimal comma) and the stock of all warehouses as XML. A file appears under its name only when it is
//! complete.

use std::{fmt::Write as _, fs, io, path::Path};

use sqlx::{Row, SqliteConnection};

/// Header of the price file.
const COLUMNS: &str = "tarifa;referencia;descripcion;precio;desde2;precio2;desde3;precio3;moneda;iva_incluido";

/// The two price lists: one row per list and format, with up to two quantity breaks.
///
/// # Errors
/// If the database fails.
pub async fn prices(erp: &mut SqliteConnection) -> sqlx::Result<Vec<u8>> {
    let rows = sqlx::query(
        "SELECT t.codigo AS tarifa, f.referencia, a.nombre_es || coalesce(' (' || f.valor1 || ')', '') AS descripcion, \
         t.moneda, t.iva_incluido, l.desde, l.precio FROM tarifa_linea l JOIN tarifa t ON t.codigo = l.tarifa \
         JOIN formato f ON f.id = l.formato_id JOIN articulo a ON a.id = f.articulo_id \
         ORDER BY t.codigo, f.id, l.desde",
    )
    .fetch_all(erp)
    .await?;
    let mut text = format!("{COLUMNS}\r\n");
    let mut rows = rows.into_iter().peekable();
    while let Some(row) = rows.next() {
        let (list, sku): (String, String) = (row.try_get("tarifa")?, row.try_get("referencia")?);
        let comma = |price: String| price.replace('.', ",");
        let mut breaks = Vec::new();
        while let Some(next) = rows.next_if(|next| {
            next.try_get::<String, _>("tarifa").is_ok_and(|other| other == list)
                && next.try_get::<String, _>("referencia").is_ok_and(|other| other == sku)
        }) {
            breaks.push((next.try_get::<i64, _>("desde")?, comma(next.try_get("precio")?)));
        }
        let cell =
            |index: usize| breaks.get(index).map_or((String::new(), ""), |(from, price)| (from.to_string(), price));
        let ((from2, price2), (from3, price3)) = (cell(0), cell(1));
        let name: String = row.try_get::<String, _>("descripcion")?.replace('"', "\"\"");
        let _ = write!(
            text,
            "{list};{sku};\"{name}\";{};{from2};{price2};{from3};{price3};{};{}\r\n",
            comma(row.try_get("precio")?),
            row.try_get::<String, _>("moneda")?,
            if row.try_get::<bool, _>("iva_incluido")? { "S" } else { "N" },
        );
    }
    Ok(encoding_rs::WINDOWS_1252.encode(&text).0.into_owned())
}

/// Stock per format and warehouse: the quantity on the shelves, and how much of it is sold but still there.
///
/// # Errors
/// If the database fails.
pub async fn stock(erp: &mut SqliteConnection) -> sqlx::Result<Vec<u8>> {
    let rows = sqlx::query(
        "SELECT f.referencia, e.almacen, e.cantidad, CASE WHEN e.almacen = 'CEN' THEN coalesce(v.vendido, 0) ELSE 0 END \
            AS reservado \
         FROM existencia e JOIN formato f ON f.id = e.formato_id \
         LEFT JOIN (SELECT l.referencia, CAST(sum(l.cantidad) AS INTEGER) AS vendido FROM pedido_linea l \
            JOIN pedido p ON p.id = l.pedido_id WHERE p.estado = 'PENDIENTE' GROUP BY l.referencia) v \
            ON v.referencia = f.referencia \
         ORDER BY f.id, e.almacen",
    )
    .fetch_all(erp)
    .await?;
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<existencias>\n");
    let mut open: Option<String> = None;
    for row in rows {
        let sku: String = row.try_get("referencia")?;
        if open.as_ref() != Some(&sku) {
            if open.is_some() {
                text.push_str("  </articulo>\n");
            }
            let _ = writeln!(text, "  <articulo ref=\"{sku}\">");
            open = Some(sku);
        }
        let (warehouse, quantity): (String, i64) = (row.try_get("almacen")?, row.try_get("cantidad")?);
        let reserved: i64 = row.try_get("reservado")?;
        let _ = writeln!(text, "    <almacen codigo=\"{warehouse}\" reservado=\"{reserved}\">{quantity}</almacen>");
    }
    if open.is_some() {
        text.push_str("  </articulo>\n");
    }
    text.push_str("</existencias>\n");
    Ok(text.into_bytes())
}

/// Put a file into `folder` under its name, in one step. If an earlier start has put a file of this name there, it
/// is not put there again, wherever that file was moved since. Return whether the file was put there.
///
/// # Errors
/// If the file system fails.
pub fn put(folder: &Path, name: &str, content: &[u8]) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    if has(folder, name)? {
        return Ok(false);
    }
    // Write it next to the folder, on the same file system: a half-written file never appears in the folder.
    let draft = folder.with_extension("tmp");
    let mut file = fs::File::create(&draft)?;
    io::Write::write_all(&mut file, content)?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(name))?;
    Ok(true)
}

fn has(folder: &Path, name: &str) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if has(&entry.path(), name)? {
                return Ok(true);
            }
        } else if entry.file_name().to_str().is_some_and(|found| found == name || found.ends_with(name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_taken_and_archived_is_not_dropped_a_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let drop = folder.path().join("drop");
        assert!(put(&drop, "stock_1.xml", b"<x/>").unwrap());
        fs::create_dir(drop.join("done")).unwrap();
        fs::rename(drop.join("stock_1.xml"), drop.join("done/stock_1.xml")).unwrap();
        assert!(!put(&drop, "stock_1.xml", b"<x/>").unwrap());
        assert!(put(&drop, "stock_2.xml", b"<x/>").unwrap());
    }
}
