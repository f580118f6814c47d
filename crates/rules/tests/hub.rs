//! Every rule of the public hub loads without an error, and counts what it is known to hold.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use testudo_rules::{
    Diagnostic, Loaded, Severity, SourceFile, load_context, load_parsers, load_postoverflows, load_scenarios,
    plan::{BucketKind, GrokSource, OnSuccess, ParserNode, Scope},
    render,
};

/// The folder of the hub, if it is there.
fn hub() -> Option<PathBuf> {
    let shared = std::env::var_os("TESTUDO_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let hub = shared.join("hub");
    if !hub.is_dir() {
        println!("skipped: no hub at {}", hub.display());
        return None;
    }
    Some(hub)
}

/// All YAML files below a folder, sorted by path.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the hub") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn source(path: &Path) -> Arc<SourceFile> {
    let text = fs::read_to_string(path).expect("a rule file");
    Arc::new(SourceFile { path: path.display().to_string(), text })
}

/// Name of the folder directly below `root`.
fn stage<'p>(root: &Path, path: &'p Path) -> &'p str {
    let below = path.strip_prefix(root).expect("a path below the root");
    below.components().next().and_then(|c| c.as_os_str().to_str()).expect("a stage")
}

/// Loads files, prints their errors, and answers with the documents, the number of errors, and
/// the number of warnings by code.
fn load<T>(
    paths: &[PathBuf],
    mut loader: impl FnMut(&Path) -> Loaded<T>,
) -> (Vec<T>, usize, BTreeMap<&'static str, usize>) {
    let (mut items, mut errors, mut warnings) = (Vec::new(), 0, BTreeMap::new());
    for path in paths {
        let loaded = loader(path);
        items.extend(loaded.items);
        for diagnostic in &loaded.diagnostics {
            let Diagnostic { code, severity, .. } = diagnostic;
            if *severity == Severity::Error {
                errors += 1;
            } else {
                *warnings.entry(*code).or_default() += 1;
            }
            println!("{}\n", render(diagnostic, false));
        }
    }
    (items, errors, warnings)
}

/// All nodes of a tree, the top one first.
fn nodes(node: &ParserNode) -> Vec<&ParserNode> {
    std::iter::once(node).chain(node.nodes.iter().flat_map(nodes)).collect()
}

#[test]
fn parsers() {
    let Some(hub) = hub() else { return };
    let root = hub.join("parsers");
    let paths = files(&root);
    let (parsers, errors, warnings) = load(&paths, |path| load_parsers(source(path), stage(&root, path)));
    let all: Vec<_> = parsers.iter().flat_map(|p| nodes(&p.node)).collect();
    let top: Vec<_> = parsers.iter().map(|p| &p.node).collect();
    let next_stage =
        |nodes: &[&ParserNode]| nodes.iter().filter(|n| n.on_success == OnSuccess::NextStage).count();
    let source_is = |test: &dyn Fn(&GrokSource) -> bool| {
        all.iter().filter_map(|node| node.grok.as_ref()).filter(|grok| test(&grok.source)).count()
    };
    let counts = [
        ("files", paths.len(), 164),
        ("documents", parsers.len(), 170),
        ("top nodes with next_stage", next_stage(&top), 152),
        ("sub-nodes with next_stage", next_stage(&all) - next_stage(&top), 23),
        ("groks on the line", source_is(&|s| matches!(s, GrokSource::Line)), 10),
        ("groks on message", source_is(&|s| matches!(s, GrokSource::Parsed(k) if &**k == "message")), 258),
        ("groks on other keys", source_is(&|s| matches!(s, GrokSource::Parsed(k) if &**k != "message")), 10),
        ("groks on expressions", source_is(&|s| matches!(s, GrokSource::Expression(_))), 21),
        ("stashes", all.iter().map(|n| n.stash.len()).sum(), 3),
        ("whitelists", all.iter().filter(|n| n.whitelist.is_some()).count(), 10),
        ("parsers with data", all.iter().filter(|n| !n.data.is_empty()).count(), 1),
    ];
    println!("{} nodes, {warnings:?} {counts:?}", all.len());
    assert_eq!(errors, 0);
    for (what, got, expected) in counts {
        assert_eq!(got, expected, "{what}");
    }
}

#[test]
fn postoverflows() {
    let Some(hub) = hub() else { return };
    let root = hub.join("postoverflows");
    let paths = files(&root);
    let (items, errors, warnings) = load(&paths, |path| load_postoverflows(source(path), stage(&root, path)));
    println!("{} files, {} documents, {warnings:?}", paths.len(), items.len());
    assert_eq!(errors, 0);
    assert_eq!((paths.len(), items.len()), (12, 12));
}

#[test]
fn scenarios() {
    let Some(hub) = hub() else { return };
    let paths = files(&hub.join("scenarios"));
    let (items, errors, warnings) = load(&paths, |path| load_scenarios(source(path)));
    let count = |kind: BucketKind| items.iter().filter(|s| s.kind == kind).count();
    let has =
        |test: &dyn Fn(&testudo_rules::plan::Scenario) -> bool| items.iter().filter(|s| test(s)).count();
    let counts = [
        ("files", paths.len(), 783),
        ("documents", items.len(), 846),
        ("trigger", count(BucketKind::Trigger), 620),
        ("leaky", count(BucketKind::Leaky), 216),
        ("conditional", count(BucketKind::Conditional), 10),
        ("groupby", has(&|s| s.group_by.is_some()), 302),
        ("distinct", has(&|s| s.distinct.is_some()), 80),
        ("condition", has(&|s| s.condition.is_some()), 10),
        ("cancel_on", has(&|s| s.cancel_on.is_some()), 2),
        ("overflow_filter", has(&|s| s.overflow_filter.is_some()), 0),
        ("reprocess", has(&|s| s.reprocess), 69),
        ("remediation", has(&|s| s.remediation), 282),
        ("cache_size", has(&|s| s.cache_size > 0), 4),
        ("data", has(&|s| !s.data.is_empty()), 12),
        ("range scope", has(&|s| matches!(s.scope, Scope::Range(_))), 1),
        ("ParentProcessId", has(&|s| s.scope.name() == "ParentProcessId"), 520),
    ];
    println!("{warnings:?} {counts:?}");
    assert_eq!(errors, 0);
    for (what, got, expected) in counts {
        assert_eq!(got, expected, "{what}");
    }
}

#[test]
fn contexts() {
    let Some(hub) = hub() else { return };
    let paths = files(&hub.join("contexts"));
    let (items, errors, warnings) = load(&paths, |path| load_context(source(path), true));
    println!("{} files, {warnings:?}", paths.len());
    assert_eq!(errors, 0);
    assert_eq!((paths.len(), items.len()), (9, 9));
}
