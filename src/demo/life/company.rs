//! What the office and the warehouse do in the ERP. Every deed runs in its caller's transaction.

use anyhow::Context as _;
use rust_decimal::{Decimal, RoundingStrategy};
use sqlx::{Row, SqliteConnection};

use super::script::Deed;
use crate::demo::generate::{self, CUSTOMERS, Seed, decimal, person};

/// Do a deed. Return a description of what happened.
pub async fn act(erp: &mut SqliteConnection, deed: Deed, step: u32, seed: &mut Seed) -> anyhow::Result<String> {
    match deed {
        Deed::Rename => rename(erp, step, seed).await,
        Deed::MoveFamily => move_family(erp, step, seed).await,
        Deed::Reprice => reprice(erp, seed).await,
        Deed::Count => count(erp, seed).await,
        Deed::Discontinue => discontinue(erp, seed).await,
        Deed::Delete => delete(erp, seed).await,
        Deed::Launch => launch(erp, step, seed).await,
        Deed::Enrol => enrol(erp, step, seed).await,
        Deed::Readdress => readdress(erp, seed).await,
        Deed::Prepare => prepare(erp).await,
        Deed::Ship => ship(erp).await,
        Deed::Cancel => cancel(erp).await,
    }
}

/// At most `count` of the ids that a query gives, chosen at random.
async fn some(
    erp: &mut SqliteConnection,
    query: &'static str,
    count: usize,
    seed: &mut Seed,
) -> sqlx::Result<Vec<i64>> {
    let mut ids: Vec<i64> = sqlx::query_scalar(query).fetch_all(erp).await?;
    let mut chosen = Vec::new();
    while chosen.len() < count && !ids.is_empty() {
        let at = usize::try_from(seed.below(ids.len() as u64)).unwrap_or(0);
        chosen.push(ids.swap_remove(at));
    }
    Ok(chosen)
}

async fn rename(erp: &mut SqliteConnection, step: u32, seed: &mut Seed) -> anyhow::Result<String> {
    let articles = some(erp, "SELECT id FROM articulo WHERE web AND NOT baja ORDER BY id", 5, seed).await?;
    for article in &articles {
        sqlx::query(
            "UPDATE articulo SET nombre_es = nombre_es || ' · ed. ' || ?1, nombre_en = nombre_en || ' · ed. ' || ?1 \
             WHERE id = ?2",
        )
        .bind(step)
        .bind(article)
        .execute(&mut *erp)
        .await?;
    }
    Ok(format!("ERP renames {} products", articles.len()))
}

async fn move_family(erp: &mut SqliteConnection, step: u32, seed: &mut Seed) -> anyhow::Result<String> {
    let leaf = some(erp, "SELECT id FROM familia WHERE padre_id IS NOT NULL ORDER BY id", 1, seed).await?;
    let roots = some(erp, "SELECT id FROM familia WHERE padre_id IS NULL ORDER BY id", 8, seed).await?;
    let leaf = *leaf.first().context("the ERP has no families")?;
    let parent: i64 =
        sqlx::query_scalar("SELECT padre_id FROM familia WHERE id = ?").bind(leaf).fetch_one(&mut *erp).await?;
    let root = *roots.iter().find(|root| **root != parent).context("the ERP has one root only")?;
    sqlx::query("UPDATE familia SET padre_id = ? WHERE id = ?").bind(root).bind(leaf).execute(&mut *erp).await?;
    sqlx::query("UPDATE familia SET nombre_es = nombre_es || ' ' || ? WHERE id = ?")
        .bind(step)
        .bind(parent)
        .execute(&mut *erp)
        .await?;
    let code: String = sqlx::query_scalar("SELECT codigo FROM familia WHERE id = ?").bind(leaf).fetch_one(erp).await?;
    Ok(format!("ERP moves category {code} and renames the category it was in"))
}

async fn reprice(erp: &mut SqliteConnection, seed: &mut Seed) -> anyhow::Result<String> {
    let families = some(erp, "SELECT id FROM familia WHERE padre_id IS NOT NULL ORDER BY id", 1, seed).await?;
    let percent = Decimal::from(*seed.pick(&[95_u8, 97, 103, 104, 106])) / Decimal::ONE_HUNDRED;
    let rows = sqlx::query(
        "SELECT l.rowid AS fila, l.precio FROM tarifa_linea l JOIN formato f ON f.id = l.formato_id \
         JOIN articulo a ON a.id = f.articulo_id WHERE a.familia_id = ?",
    )
    .bind(families.first())
    .fetch_all(&mut *erp)
    .await?;
    for row in &rows {
        let price: Decimal = row.try_get::<String, _>("precio")?.parse()?;
        let mut price = (price * percent).round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
        price.rescale(2);
        sqlx::query("UPDATE tarifa_linea SET precio = ? WHERE rowid = ?")
            .bind(price.to_string())
            .bind(row.try_get::<i64, _>("fila")?)
            .execute(&mut *erp)
            .await?;
    }
    Ok(format!(
        "ERP changes {} prices of one category to {} % of what they were",
        rows.len(),
        percent * Decimal::ONE_HUNDRED
    ))
}

async fn count(erp: &mut SqliteConnection, seed: &mut Seed) -> anyhow::Result<String> {
    let formats = some(erp, "SELECT id FROM formato ORDER BY id", 40, seed).await?;
    for format in &formats {
        let quantity = if seed.chance(5) { 0 } else { seed.between(3, 300) };
        sqlx::query("UPDATE existencia SET cantidad = ? WHERE formato_id = ? AND almacen = 'CEN'")
            .bind(i64::try_from(quantity)?)
            .bind(format)
            .execute(&mut *erp)
            .await?;
    }
    Ok(format!("ERP corrects the stock of {} variants after a count", formats.len()))
}

async fn discontinue(erp: &mut SqliteConnection, seed: &mut Seed) -> anyhow::Result<String> {
    let articles = some(erp, "SELECT id FROM articulo WHERE web AND NOT baja ORDER BY id", 2, seed).await?;
    for article in &articles {
        sqlx::query("UPDATE articulo SET baja = 1 WHERE id = ?").bind(article).execute(&mut *erp).await?;
    }
    Ok(format!("ERP discontinues {} products", articles.len()))
}

async fn delete(erp: &mut SqliteConnection, seed: &mut Seed) -> anyhow::Result<String> {
    let unsold = "SELECT id FROM articulo a WHERE web AND NOT baja AND NOT EXISTS (SELECT 1 FROM pedido_linea l \
                  JOIN formato f ON f.referencia = l.referencia WHERE f.articulo_id = a.id) ORDER BY id";
    let articles = some(erp, unsold, 1, seed).await?;
    let article = articles.first().context("every article has been sold")?;
    let sku: String = sqlx::query_scalar("DELETE FROM articulo WHERE id = ? RETURNING referencia")
        .bind(article)
        .fetch_one(erp)
        .await?;
    Ok(format!("ERP deletes product {sku}"))
}

async fn launch(erp: &mut SqliteConnection, step: u32, seed: &mut Seed) -> anyhow::Result<String> {
    let families = some(erp, "SELECT id FROM familia WHERE padre_id IS NOT NULL ORDER BY id", 1, seed).await?;
    let sku = format!("NOV-{step:03}");
    let article: i64 = sqlx::query_scalar(
        "INSERT INTO articulo (referencia, familia_id, nombre_es, nombre_en, descripcion_es, descripcion_en, marca, \
         tipo_iva, opcion1) VALUES (?, ?, 'Novedad del mes nº ' || ?3, 'Novelty of the month no. ' || ?3, \
         '<p>Recién llegado.</p>', '<p>Just in.</p>', 'Ferrum', 'IVA21', 'Color') RETURNING id",
    )
    .bind(&sku)
    .bind(families.first())
    .bind(step)
    .fetch_one(&mut *erp)
    .await?;
    for (number, colour) in (1_u64..).zip(["Blanco", "Negro", "Rojo teja"]) {
        let format: i64 = sqlx::query_scalar(
            "INSERT INTO formato (articulo_id, referencia, valor1, peso) VALUES (?, ?, ?, '0.450') RETURNING id",
        )
        .bind(article)
        .bind(format!("{sku}-{number}"))
        .bind(colour)
        .fetch_one(&mut *erp)
        .await?;
        for (list, cents) in [("PVP", 1990 + 100 * number), ("PRO", 1290 + 70 * number)] {
            sqlx::query("INSERT INTO tarifa_linea VALUES (?, ?, 1, ?)")
                .bind(list)
                .bind(format)
                .bind(decimal(cents, 2))
                .execute(&mut *erp)
                .await?;
        }
        for (warehouse, quantity) in [("CEN", 24), ("TIE", 6), ("CAN", 0)] {
            sqlx::query("INSERT INTO existencia VALUES (?, ?, ?)")
                .bind(format)
                .bind(warehouse)
                .bind(quantity)
                .execute(&mut *erp)
                .await?;
        }
    }
    Ok(format!("ERP launches product {sku} in three colours"))
}

async fn enrol(erp: &mut SqliteConnection, step: u32, seed: &mut Seed) -> anyhow::Result<String> {
    let number = CUSTOMERS + u64::from(step);
    generate::customer(erp, &person(seed, number, step % 2 == 0), number).await?;
    Ok(format!("ERP adds customer C{number:05}"))
}

async fn readdress(erp: &mut SqliteConnection, seed: &mut Seed) -> anyhow::Result<String> {
    let people = some(erp, "SELECT id FROM cliente WHERE web AND NOT baja ORDER BY id", 3, seed).await?;
    for person in &people {
        let phone = format!("+34 9{:08}", seed.below(100_000_000));
        sqlx::query("UPDATE cliente SET telefono = ? WHERE id = ?")
            .bind(&phone)
            .bind(person)
            .execute(&mut *erp)
            .await?;
        sqlx::query("UPDATE direccion SET telefono = ?, calle2 = 'Bajo' WHERE cliente_id = ? AND tipo = 'F'")
            .bind(&phone)
            .bind(person)
            .execute(&mut *erp)
            .await?;
    }
    Ok(format!("ERP changes the telephone numbers of {} customers", people.len()))
}

async fn prepare(erp: &mut SqliteConnection) -> anyhow::Result<String> {
    let lines = sqlx::query(
        "SELECT f.id, CAST(l.cantidad AS INTEGER) AS cantidad FROM pedido_linea l JOIN pedido p ON p.id = l.pedido_id \
         JOIN formato f ON f.referencia = l.referencia WHERE p.estado = 'PENDIENTE'",
    )
    .fetch_all(&mut *erp)
    .await?;
    for line in &lines {
        sqlx::query("UPDATE existencia SET cantidad = max(0, cantidad - ?) WHERE formato_id = ? AND almacen = 'CEN'")
            .bind(line.try_get::<i64, _>("cantidad")?)
            .bind(line.try_get::<i64, _>("id")?)
            .execute(&mut *erp)
            .await?;
    }
    let orders =
        sqlx::query("UPDATE pedido SET estado = 'PREPARACION' WHERE estado = 'PENDIENTE'").execute(erp).await?;
    Ok(format!("ERP prepares {} orders ({} lines are picked)", orders.rows_affected(), lines.len()))
}

async fn ship(erp: &mut SqliteConnection) -> anyhow::Result<String> {
    sqlx::query(
        "INSERT INTO albaran (pedido_id, numero, agencia, seguimiento) SELECT id, printf('AV-%05d', id), 'Correveidile', \
         printf('CV%010d', id * 7919) FROM pedido WHERE estado = 'PREPARACION'",
    )
    .execute(&mut *erp)
    .await?;
    sqlx::query(
        "INSERT INTO factura (pedido_id, numero, iva, total, moneda, documento) SELECT id, printf('FV-%05d', id), \
         coalesce(total_iva, '0'), total, moneda, printf('https://erp.example/facturas/FV-%05d.pdf', id) \
         FROM pedido WHERE estado = 'PREPARACION'",
    )
    .execute(&mut *erp)
    .await?;
    let orders = sqlx::query("UPDATE pedido SET estado = 'ENVIADO' WHERE estado = 'PREPARACION'").execute(erp).await?;
    Ok(format!("ERP ships and invoices {} orders", orders.rows_affected()))
}

async fn cancel(erp: &mut SqliteConnection) -> anyhow::Result<String> {
    let cancelled: Option<String> = sqlx::query_scalar(
        "UPDATE pedido SET estado = 'ANULADO' WHERE id = (SELECT max(id) FROM pedido WHERE estado = 'PENDIENTE') \
         RETURNING numero",
    )
    .fetch_optional(erp)
    .await?;
    Ok(cancelled
        .map_or_else(|| "ERP finds no order to cancel".to_owned(), |number| format!("ERP cancels order {number}")))
}
