//! Reads prices and stock of the ERP's side: the newest file of each kind, wherever it was moved after it was read.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use quick_xml::events::Event;

use super::{Side, number};

/// Add the retail prices and the stock of the articles on sale.
///
/// # Errors
/// If a file is missing or is not in the ERP's format.
pub fn read(folder: &Path, on_sale: &BTreeSet<String>, side: &mut Side) -> anyhow::Result<()> {
    let (prices, stock) = (newest(folder, "precios_", ".csv")?, newest(folder, "stock_", ".xml")?);
    read_prices(&fs::read(prices)?, on_sale, side)?;
    read_stock(&fs::read(stock)?, on_sale, side)
}

fn newest(folder: &Path, start: &str, end: &str) -> anyhow::Result<PathBuf> {
    let mut found: Option<(String, PathBuf)> = None;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(at) = name.find(start).filter(|_| name.ends_with(end)) {
                let name = name[at..].to_owned();
                if found.as_ref().is_none_or(|(best, _)| *best < name) {
                    found = Some((name, path));
                }
            }
        }
    }
    found.map(|(_, path)| path).with_context(|| format!("no file {start}*{end} in {}", folder.display()))
}

fn read_prices(bytes: &[u8], on_sale: &BTreeSet<String>, side: &mut Side) -> anyhow::Result<()> {
    let text = encoding_rs::WINDOWS_1252.decode(bytes).0;
    let mut rows = csv::ReaderBuilder::new().delimiter(b';').from_reader(text.as_bytes());
    for row in rows.records() {
        let row = row?;
        let (Some(list), Some(sku), Some(price)) = (row.get(0), row.get(1), row.get(3)) else {
            bail!("a row of the price file has too few columns");
        };
        if list == "PVP" && on_sale.contains(sku) {
            side.put("prices", sku.to_owned(), number(&price.replace(',', ".")));
        }
    }
    Ok(())
}

fn read_stock(bytes: &[u8], on_sale: &BTreeSet<String>, side: &mut Side) -> anyhow::Result<()> {
    let mut reader = quick_xml::Reader::from_reader(bytes);
    let (mut article, mut total, mut inside) = (None, 0_i64, false);
    loop {
        match reader.read_event()? {
            Event::Start(tag) if tag.name().as_ref() == "articulo" => {
                let reference = tag.try_get_attribute("ref")?.context("an <articulo> without ref")?;
                article = Some(reference.value.into_owned());
                total = 0;
            }
            Event::Start(tag) => {
                inside = tag.name().as_ref() == "almacen";
                if let Some(reserved) = tag.try_get_attribute("reservado")? {
                    total -= reserved.value.parse::<i64>()?;
                }
            }
            Event::Text(text) if inside => total += text.trim().parse::<i64>()?,
            Event::End(tag) if tag.name().as_ref() == "articulo" => {
                if let Some(sku) = article.take().filter(|sku| on_sale.contains(sku)) {
                    side.put("stock", sku, total.max(0).to_string());
                }
            }
            Event::End(_) => inside = false,
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_sell_is_summed_over_the_warehouses_of_what_is_on_sale() {
        let xml = br#"<existencias><articulo ref="A"><almacen codigo="CEN">3</almacen><almacen codigo="TIE" reservado="1">4</almacen></articulo>
            <articulo ref="B"><almacen codigo="CEN">9</almacen></articulo></existencias>"#;
        let mut side = Side::default();
        read_stock(xml, &BTreeSet::from(["A".to_owned()]), &mut side).unwrap();
        assert_eq!(side.kinds["stock"].clone().into_iter().collect::<Vec<_>>(), [("A".to_owned(), "6".to_owned())]);
    }

    #[test]
    fn retail_prices_lose_their_comma_and_superfluous_zeros() {
        let csv = b"tarifa;referencia;descripcion;precio\r\nPVP;A;\"Ca\xf1o 1/2\"\"\";12,50\r\nPRO;A;x;8,00\r\n";
        let mut side = Side::default();
        read_prices(csv, &BTreeSet::from(["A".to_owned()]), &mut side).unwrap();
        assert_eq!(side.kinds["prices"]["A"], "12.5");
    }
}
