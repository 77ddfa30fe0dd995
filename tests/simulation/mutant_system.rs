//! A system, and a network, with a planted bug between them and the engine.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use serde_json::Value;
use vaiven::internals::{
    adapter::http::{Request, Response, Transport, TransportError},
    failure::{Class, Failure},
    port::{
        Capabilities, Checked, Op, Outcome, Pace, Page, Probe, Progress, PullRequest, RowBody, SourceRow, System, Write,
    },
};

use crate::{
    models::{SUPER, decoded},
    mutants::Mutant,
};

/// Behaves like `inner`, except for what the planted bug changes.
pub struct MutantSystem {
    mutant: Mutant,
    inner: Arc<dyn System>,
    /// The capabilities for products that the engine sees.
    product_capabilities: Option<Capabilities>,
    /// By entity: the latest date in a listing that the planted bug takes for the watermark.
    reached: Mutex<BTreeMap<String, String>>,
}

impl MutantSystem {
    /// Puts `mutant` in front of `inner`.
    pub fn new(mutant: Mutant, inner: Arc<dyn System>) -> Self {
        let mut capabilities = inner.capabilities("product").cloned();
        if let (Mutant::BlindWrite, Some(capabilities)) = (mutant, &mut capabilities) {
            capabilities.read = false;
        }
        Self { mutant, inner, product_capabilities: capabilities, reached: Mutex::default() }
    }

    /// Changes a row before the engine sees it.
    fn mutate_row(&self, entity: &str, row: &mut SourceRow) {
        let RowBody::Json(body) = &mut row.body else { return };
        match (self.mutant, entity) {
            (Mutant::OnHandIsAvailable, "stock") => body["reserved"] = 0.into(),
            (Mutant::ForgottenChildren, "customer") => {
                for address in body["addresses"].as_array_mut().into_iter().flatten() {
                    address["id"] = Value::Null;
                }
            }
            (Mutant::DroppedCurrency, "order") => body["currency"] = "EUR".into(),
            (Mutant::AlteredIsDone, "product") => fill_in_tax_class(body),
            (Mutant::UnpaidIsPaid, "order") if body["status"] == "pending" => body["status"] = "paid".into(),
            _ => {}
        }
    }

    /// Removes the rows that a listing would lack if it began at a date in the future, or at a local time.
    fn remove_earlier_rows(&self, request: &PullRequest<'_>, rows: &mut Vec<SourceRow>) {
        let mut reached = self.reached.lock().unwrap();
        if let Some(reached) = reached.get(request.entity).filter(|_| request.since.is_some()) {
            rows.retain(|row| date_of(row).is_none_or(|date| date >= *reached));
        }
        let counts = |date: &String| self.mutant == Mutant::LostHour || date.as_str() > "2027";
        if let Some(latest) = rows.iter().filter_map(date_of).filter(counts).max() {
            reached.insert(request.entity.to_owned(), latest);
        }
    }
}

#[async_trait]
impl System for MutantSystem {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self, entity: &str) -> Option<&Capabilities> {
        if entity == "product" { self.product_capabilities.as_ref() } else { self.inner.capabilities(entity) }
    }

    fn version(&self, entity: &str) -> u64 {
        self.inner.version(entity)
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure> {
        let mut page = self.inner.pull(request).await?;
        if self.mutant == Mutant::EarlyCursor && page.next.is_some() {
            page.cursor = page.rows.iter().filter_map(date_of).max();
        }
        if matches!(self.mutant, Mutant::FutureCursor | Mutant::LostHour) {
            self.remove_earlier_rows(request, &mut page.rows);
        }
        if self.mutant == Mutant::UnreadableIsAbsent {
            page.rows.retain(is_readable);
            // Otherwise the listing would be found to be short.
            page.total = None;
        }
        page.rows.iter_mut().for_each(|row| self.mutate_row(request.entity, row));
        Ok(page)
    }

    async fn acknowledge(&self, entity: &str, receipt: &Value) -> Result<(), Failure> {
        self.inner.acknowledge(entity, receipt).await
    }

    async fn read(&self, entity: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        let mut rows = self.inner.read(entity, ids).await?;
        if self.mutant == Mutant::UnreadableIsAbsent {
            rows.retain(is_readable);
        }
        rows.iter_mut().for_each(|row| self.mutate_row(entity, row));
        Ok(rows)
    }

    async fn find(&self, entity: &str, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        let mut rows = self.inner.find(entity, probe).await?;
        if self.mutant == Mutant::UnreadableIsAbsent {
            rows.retain(is_readable);
        }
        Ok(rows)
    }

    async fn write(&self, entity: &str, mut writes: Vec<Write>, progress: &dyn Progress) -> Vec<Outcome> {
        if self.mutant == Mutant::HalfCreate {
            for write in writes.iter_mut().filter(|write| write.op == Op::Create) {
                for body in [&mut write.body, &mut write.whole] {
                    body.as_object_mut().and_then(|body| body.remove("text"));
                }
            }
        }
        if self.mutant == Mutant::SaleWrittenOver && entity == "price" {
            for write in &mut writes {
                write.body["sale"] = "".into();
            }
        }
        let mut outcomes = self.inner.write(entity, writes, progress).await;
        if self.mutant == Mutant::LostIsFailed {
            for failure in outcomes.iter_mut().filter_map(|outcome| outcome.result.as_mut().err()) {
                if failure.class == Class::Unknown {
                    failure.class = Class::Transient;
                }
            }
        }
        for outcome in &mut outcomes {
            match (self.mutant, &mut outcome.result) {
                // Name another field to keep the engine from looking for the object that has the value.
                (Mutant::RefusalIsFinal, Err(failure)) if failure.class == Class::Rejected => {
                    failure.field = Some("name".into());
                }
                (Mutant::AlteredIsDone, Ok(written)) => written.stored.iter_mut().for_each(fill_in_tax_class),
                (Mutant::ForgottenChildren, Ok(written)) => written.child_ids.clear(),
                _ => {}
            }
        }
        outcomes
    }

    async fn admit(&self, entity: &str, writes: &[&Write]) -> Vec<Option<String>> {
        self.inner.admit(entity, writes).await
    }

    fn pace(&self) -> Option<Pace> {
        self.inner.pace()
    }

    async fn check(&self) -> Vec<Checked> {
        self.inner.check().await
    }
}

fn date_of(row: &SourceRow) -> Option<String> {
    match &row.body {
        RowBody::Json(row) => row["updated"].as_str().map(str::to_owned),
        RowBody::Record { .. } => None,
    }
}

fn is_readable(row: &SourceRow) -> bool {
    let RowBody::Json(row) = &row.body else { return true };
    ["name", "status"].iter().all(|field| !row[field].is_array())
}

/// Gives an article without a tax class the one that the shop does not know.
fn fill_in_tax_class(row: &mut Value) {
    if row["tax"] == "" {
        row["tax"] = SUPER.into();
    }
}

/// A network with a planted bug between it and the engine.
#[derive(Debug)]
pub struct MutantTransport<T> {
    pub mutant: Mutant,
    pub inner: T,
}

#[async_trait]
impl<T: Transport> Transport for MutantTransport<T> {
    async fn send(&self, mut request: Request) -> Result<Response, TransportError> {
        if self.mutant == Mutant::RawPaths {
            let (address, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
            request.url = format!("{}?{query}", decoded(address));
        }
        let mut response = self.inner.send(request).await?;
        // Remove what would show that a listing is short.
        if self.mutant == Mutant::UnprovenListing
            && let Ok(mut body) = serde_json::from_slice::<Value>(&response.body)
            && body["rows"].is_array()
        {
            body["total"] = Value::Null;
            response.body = body.to_string().into_bytes().into();
        }
        Ok(response)
    }
}
