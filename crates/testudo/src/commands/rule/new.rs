//! `testudo rule new`: drafts a parser, with samples, from the lines of a log.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use testudo_author::{
    bundle,
    draft::{Draft, Names, Sort, draft, scenario},
    mine::{Envelope, MAX_LINES, Mined, Wanted, mine},
};

use crate::{
    args::{RuleNewArgs, ScenarioKind},
    content,
    failure::{self, Failure},
    replay::input,
    rules,
    table::printable,
};

/// Other programs of a syslog that are named.
const SHOWN_PROGRAMS: usize = 6;

/// Whether it is a device, which may never end.
fn is_device(metadata: &fs::Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        metadata.file_type().is_char_device() || metadata.file_type().is_block_device()
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

pub(crate) fn run(args: &RuleNewArgs) -> Result<ExitCode, Failure> {
    if args.from != Path::new("-") {
        let metadata = fs::metadata(&args.from)
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", args.from.display())))?;
        if is_device(&metadata) {
            return Err(Failure::new(format!("{} is a device and no log", args.from.display()))
                .hint("give a file, or `-` for the standard input"));
        }
    }
    let lines = input::first_lines(&args.from, MAX_LINES + 1);
    if lines.is_empty() {
        return Err(Failure::new(format!("there is no line in {} that can be read", args.from.display()))
            .hint("give a log with at least one line of the service; lines longer than 1 MiB are not read"));
    }
    let stem = args.from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fallback = word(stem.split('.').next().unwrap_or_default()).unwrap_or_else(|| "service".to_owned());
    let wanted =
        Wanted { kind: args.kind.clone(), fallback, program: args.program.clone(), forms: args.forms.max(1) };
    let mined = mine(&lines, &wanted);
    check(args, &mined)?;
    let stem = word(&mined.program).unwrap_or_else(|| "service".to_owned());
    let name = args.name.clone().unwrap_or_else(|| format!("local/{stem}"));
    let names = Names::new(&name).ok_or_else(|| {
        Failure::new(format!("`{name}` is no name for a rule"))
            .hint("write it like me/dropbear: an author and a name of letters, digits, dots, dashes and underscores")
    })?;
    let (context, _) = content::rules();
    let draft = draft(&mined, &names, &context).map_err(|diagnostics| {
        rules::print(&diagnostics);
        Failure::new("the draft does not load; this is a mistake of this program")
    })?;
    let scenario = match args.scenario {
        None => None,
        Some(kind) => Some(drafted_scenario(&draft, &names, kind)?),
    };
    match &args.output {
        Some(output) => write(output, args.force, &names, &draft, scenario)?,
        None => {
            let mut out = io::stdout().lock();
            out.write_all(draft.rule.as_bytes())
                .and_then(|()| scenario.map_or(Ok(()), |(_, text)| write!(out, "---\n{text}")))
                .map_err(|error| failure::output(&error))?;
            eprintln!("note: -o FILE.yaml or -o DIR/ writes the rule, and samples of it, into files");
        }
    }
    tell(&lines, &mined);
    Ok(ExitCode::SUCCESS)
}

/// A name for a rule out of that of a program.
fn word(name: &str) -> Option<String> {
    let name = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(40).collect();
    (!name.is_empty()).then_some(name)
}

/// Whether there is something to draft.
fn check(args: &RuleNewArgs, mined: &Mined) -> Result<(), Failure> {
    if mined.lines == 0 {
        let programs: Vec<&str> =
            mined.others.iter().take(SHOWN_PROGRAMS).map(|(name, _)| name.as_str()).collect();
        let hint = if programs.is_empty() {
            "no line has the envelope of a syslog; leave out --type syslog".to_owned()
        } else {
            format!("there are lines of {}", printable(&programs.join(", ")))
        };
        return Err(Failure::new(format!("no line is of the program `{}`", mined.program)).hint(hint));
    }
    // What looks like text in a picture or an archive is none.
    if mined.garbled * 2 > mined.lines {
        return Err(Failure::new(format!(
            "{} of the {} lines have control characters or are no UTF-8: {} is no log of text",
            mined.garbled,
            mined.lines,
            args.from.display()
        ))
        .hint("give what the service writes; of compressed files, .gz and .zst are read"));
    }
    if mined.covered == 0 {
        return Err(Failure::new(format!(
            "none of the {} lines is text that a pattern could read",
            mined.lines
        ))
        .hint(format!(
            "{} of them have control characters, are no UTF-8 or are too long; is {} a log?",
            mined.unusable,
            args.from.display()
        )));
    }
    Ok(())
}

fn drafted_scenario(draft: &Draft, names: &Names, kind: ScenarioKind) -> Result<(String, String), Failure> {
    let log_type = draft.log_type.as_ref().ok_or_else(|| {
        Failure::new("a scenario needs an address to count by, and no form has one that can be trusted")
            .hint("leave out --scenario, and mend the parser first")
    })?;
    let sort = match kind {
        ScenarioKind::Bruteforce => Sort::Bruteforce,
        ScenarioKind::Enumeration => Sort::Enumeration,
        ScenarioKind::Scan => Sort::Scan,
    };
    Ok((sort.suffix().to_owned(), scenario(names, log_type, sort)))
}

/// Writes what was drafted, into files that are not there yet.
fn write(
    output: &Path,
    force: bool,
    names: &Names,
    draft: &Draft,
    scenario: Option<(String, String)>,
) -> Result<(), Failure> {
    let is_file =
        !output.is_dir() && output.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let file = format!("{}.yaml", names.service);
    let rule = if is_file {
        output.to_owned()
    } else {
        output.join("parsers").join(bundle::DEFAULT_STAGE).join(&file)
    };
    let samples = bundle::samples_path(&rule);
    let mut files: Vec<(PathBuf, &str)> = vec![(rule.clone(), &draft.rule), (samples, &draft.samples)];
    if let Some((suffix, text)) = &scenario {
        let file = format!("{}-{suffix}.yaml", names.service);
        let path = if is_file { rule.with_file_name(file) } else { output.join("scenarios").join(file) };
        files.push((path, text));
    }
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()).filter(|_| !force) {
        return Err(Failure::new(format!("{} is there already", path.display()))
            .hint("name another file, or replace it with --force"));
    }
    for (path, text) in files {
        let failed = |error| Failure::new(format!("cannot write {}: {error}", path.display()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::write(&path, text).map_err(failed)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// What was read, on the standard error.
fn tell(lines: &[String], mined: &Mined) {
    let forms = if mined.envelope == Envelope::Json { mined.found } else { mined.forms.len() };
    eprintln!(
        "{} of {} lines of {} in {} form{}",
        mined.covered,
        mined.lines,
        printable(&mined.program),
        forms,
        if forms == 1 { "" } else { "s" }
    );
    if mined.lines > 1 && mined.forms.len() > 1 && mined.found == mined.lines {
        eprintln!("note: no two lines have the same form; is this the log of one service?");
    }
    if lines.len() > MAX_LINES {
        eprintln!("note: only the first {MAX_LINES} lines were looked at");
    }
    if !mined.others.is_empty() {
        let names: Vec<String> = mined
            .others
            .iter()
            .take(SHOWN_PROGRAMS)
            .map(|(name, count)| format!("{} ({count})", printable(name)))
            .collect();
        let more = mined.others.len().saturating_sub(SHOWN_PROGRAMS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        eprintln!(
            "note: there are lines of other programs, too: {}{more}; choose one with --program",
            names.join(", ")
        );
    }
}
