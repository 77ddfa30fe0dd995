//! `vaiven plan`: shows what a pass would write, without writing it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{
    Ending, app, approve,
    args::{Global, PlanArgs},
    canonical::cell,
    lifecycle::Lifecycle,
    output, progress,
    resync::flow_of,
    run,
};
use crate::{
    env::Env,
    mapping::Fields,
    port::Op,
    printable,
    store::{self, RunKind},
    sync::{
        Reach,
        plan::{self, Basis, Braked, Estimate, OpOrder, Plan, PlanSummary, Question, Unwritten},
        requests,
    },
    wait_reason::WaitReason,
};

/// Number of examples of each kind, unless all are asked for.
const EXAMPLES: usize = 5;
/// Maximum number of a new object's fields that are shown.
const FIELDS: usize = 6;

pub async fn plan(args: &PlanArgs, global: &Global, env: &Env) -> anyhow::Result<Ending> {
    let config = app::config(global)?;
    let flow = args.flow.as_deref().map(|flow| flow_of(flow, &config)).transpose()?;
    let reach = Reach { flow, kind: if args.full { RunKind::Full } else { RunKind::Delta } };
    let life = Lifecycle::listen(env)?;
    let opened = app::plan(&config, env)?;
    let left_out: Vec<String> = opened.left_out.iter().map(ToString::to_string).collect();
    let copy = store::copy(config.store_url()?.expose_secret(), env).await?;
    let context = run::context(opened, copy.store.clone(), env);
    let question = Question {
        reach,
        examples: if args.all { usize::MAX } else { EXAMPLES },
        // With --all the writes are read back from the write log.
        writes: if args.all { 0 } else { EXAMPLES },
        personal: args.personal,
    };
    let bars = output::is_watched().then(indicatif::MultiProgress::new);
    let making = async {
        tokio::select! {
            made = plan::plan(context, &copy, question, write_log(env)?, &life.soft) => Ok(made?),
            never = progress::show(&copy.store, env, bars) => match never {},
        }
    };
    let made: Option<anyhow::Result<Plan>> = life.guard(making).await;
    copy.remove().await?;
    let Some(made) = made else { anyhow::bail!("stopped at once; nothing was written") };
    let mut made = made?;
    if let Some(file) = &args.out {
        keep(&mut made, file).with_context(|| format!("the plan cannot be written to {}", file.display()))?;
    }
    if global.json {
        printed(plan::write(&mut made, &mut output::SafeJson::new(io::stdout().lock())))?;
    } else {
        output::line(&text(&made, &left_out))?;
        if args.all {
            printed(every_write(&mut made))?;
        }
        if let (Some(file), true) = (&args.out, made.groups.values().any(|group| group.count > 0)) {
            output::line(&format!("\n`vaiven apply {}` does this and nothing else.", file.display()))?;
        }
    }
    Ok(if made.summary.is_clean() { Ending::Fine } else { Ending::Attention })
}

/// A file without a name, which exists only while it is open.
fn write_log(env: &Env) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("vaiven-{:016x}", env.entropy.next_u64()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// Write the plan readable for its owner only: it shows what a company sells, and to whom.
fn keep(plan: &mut Plan, path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    plan::write(plan, &mut io::BufWriter::new(options.open(path)?))
}

/// If the reader has gone (`| head`), that is not an error.
fn printed(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn every_write(plan: &mut Plan) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    plan.write_log.lines(|line| {
        let line: Value = serde_json::from_str(line)?;
        let word = |member: &str| line.get(member).and_then(Value::as_str).unwrap_or_default();
        let key = output::name(word("key"));
        writeln!(out, "\n{} {} at {}: {key}", word("op"), word("entity"), word("target"))?;
        for (field, pair) in line.get("fields").and_then(Value::as_object).into_iter().flatten() {
            writeln!(out, "    {}", printable::text(&change(field, pair)))?;
        }
        Ok(())
    })?;
    out.flush()
}

fn text(plan: &Plan, left_out: &[String]) -> String {
    let summary = &plan.summary;
    let scope = summary.reach.flow.as_ref().map_or_else(|| "all flows".to_owned(), |flow| format!("flow {flow}"));
    let kind = match summary.reach.kind {
        RunKind::Delta | RunKind::Single => "what changed since the last pull",
        RunKind::Full => "a full pull",
    };
    let mut parts = vec![format!("Plan for {scope}, from {kind}. Nothing was written.")];
    let failed = summary.runs.iter().filter_map(|run| {
        let error = run.error.as_ref()?;
        Some(format!("Not read: {} of {}: {error}", run.entity, run.system))
    });
    parts.extend(failed);
    parts.push(targets(summary));
    if !summary.targets.is_empty() && !summary.affairs.is_well() {
        parts.push(format!("Once this is written: {}", summary.affairs.headline()));
    }
    for ((target, entity, OpOrder(op)), group) in plan.groups.iter().filter(|(_, group)| !group.examples.is_empty()) {
        let mut lines = vec![format!("{} {entity} at {target}: {}", word(*op), group.count)];
        for line in &group.examples {
            match op {
                Op::Create => lines.push(format!("  {}  {}", output::name(&line.key), few(&line.fields))),
                Op::Update => {
                    lines.push(format!("  {}", output::name(&line.key)));
                    lines.extend(line.fields.iter().map(|(field, pair)| format!("    {}", change(field, pair))));
                }
                Op::Delete => lines.push(format!("  {}", output::name(&line.key))),
            }
        }
        parts.push(with_rest(lines, group.count, group.examples.len()));
    }
    for matches in &summary.matches {
        let mut lines = vec![format!("recognised as the same {} from now on: {}", matches.entity, matches.count)];
        lines.extend(matches.examples.iter().map(|one| {
            let ids: Vec<String> = one.ids.iter().map(|(system, id)| format!("{system} {id}")).collect();
            let by = one.by.as_ref().map(|by| format!("  (by {}, {} % agree)", by.rule, by.score));
            format!("  {}  {}{}", output::name(&one.key), ids.join(", "), by.unwrap_or_default())
        }));
        parts.push(with_rest(lines, matches.count, matches.examples.len()));
    }
    for (title, held) in
        [("in conflict", &summary.conflicts), ("waiting", &summary.waiting), ("would be refused", &summary.rejected)]
    {
        parts.extend(held.iter().map(|held| waiting(title, held)));
    }
    parts.extend(summary.brakes.iter().map(braked));
    for rows in &summary.unreadable {
        let mut lines = vec![format!("rows of {} at {} that cannot be read: {}", rows.entity, rows.system, rows.count)];
        lines.extend(rows.examples.iter().map(|row| {
            let id = row.id.as_deref().unwrap_or(&row.position);
            format!("  {id}  {}", row.reason)
        }));
        parts.push(with_rest(lines, rows.count, rows.examples.len()));
    }
    if summary.differences > 0 {
        let fields = output::count(summary.differences, "field");
        parts.push(format!(
            "{fields} stored by targets differently from what was sent: `vaiven differences` shows them."
        ));
    }
    parts.push(format!("Reading for this plan took {}.", requests::summary(&summary.requests)));
    if !left_out.is_empty() {
        parts.push(format!("left out:\n  {}", left_out.join("\n  ")));
    }
    parts.join("\n\n")
}

fn targets(summary: &PlanSummary) -> String {
    if summary.targets.is_empty() {
        return format!("There is nothing to write. {}", summary.affairs.headline());
    }
    let rows = summary.targets.iter().map(|target| {
        let from: Vec<&str> = target.from.iter().map(String::as_str).collect();
        [
            from.join(", "),
            target.target.clone(),
            target.entity.clone(),
            target.creates.to_string(),
            target.updates.to_string(),
            target.deletes.to_string(),
            target.cost.requests.to_string(),
            about(&target.cost),
        ]
    });
    output::table(["from", "to", "entity", "create", "update", "delete", "requests", "about"], rows)
}

/// `12 min (measured)`.
fn about(cost: &Estimate) -> String {
    let seconds = cost.millis.div_ceil(1000);
    let time = match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    };
    let basis = match cost.basis {
        Basis::Measured => "measured before",
        Basis::Rate => "by the adapter's rate",
        Basis::Assumed => "assumed",
    };
    format!("{time} ({basis})")
}

fn waiting(title: &str, held: &Unwritten) -> String {
    let what =
        if matches!(held.what.as_str(), "conflict" | "rejected") { String::new() } else { format!(" ({})", held.what) };
    let already =
        if held.already > 0 { format!(", {} of them since before this plan", held.already) } else { String::new() };
    let mut lines = vec![format!("{title}: {} at {}{what}: {}{already}", held.entity, held.target, held.count)];
    lines.extend(held.examples.iter().map(|one| {
        let cause = one.cause.as_ref().map(WaitReason::to_string).filter(|cause| cause.contains('='));
        let why = [cause.as_deref(), one.why.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
        format!("  {}  {why}", output::name(&one.key))
    }));
    with_rest(lines, held.count, held.examples.len())
}

fn braked(one: &Braked) -> String {
    let trip = &one.trip;
    let since = one.run.map_or_else(
        || "it would wait for an approval".to_owned(),
        |run| format!("held since run {run}: `vaiven approve` shows it"),
    );
    let mut lines = vec![format!("stopped by a brake: {}: {}; {since}", one.entity, approve::trip(trip))];
    lines.extend(trip.examples.iter().map(|example| {
        let pair = Value::Array(vec![example.before.clone(), example.after.clone()]);
        let shown =
            if example.personal { format!("{}: (personal)", example.field) } else { change(&example.field, &pair) };
        format!("  {}  {shown}", output::name(&example.key))
    }));
    lines.join("\n")
}

fn with_rest(mut lines: Vec<String>, count: u64, shown: usize) -> String {
    let rest = count.saturating_sub(shown as u64);
    if rest > 0 {
        lines.push(format!("  and {rest} more (--all shows them)"));
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

pub fn word(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
    }
}

/// The first fields of a new object.
fn few(fields: &Fields) -> String {
    let shown: Vec<String> = fields
        .iter()
        .take(FIELDS)
        .map(|(field, pair)| format!("{field} {}", pair.get(1).map(cell).unwrap_or_default()))
        .collect();
    let dots = if fields.len() > FIELDS { ", ..." } else { "" };
    format!("{}{dots}", shown.join(", "))
}

/// `name: a -> b`.
pub fn change(field: &str, pair: &Value) -> String {
    let side = |index: usize| pair.get(index).filter(|value| !value.is_null()).map_or_else(|| "-".to_owned(), cell);
    format!("{field}: {} -> {}", side(0), side(1))
}
