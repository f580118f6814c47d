//! The `data` entries of a document: files that it needs in the data folder.

use crate::{
    codes, keys,
    load::{Fields, Loading},
    plan::{DataFile, DataKind},
    yaml::Node,
};

/// Reads the `data` of a document.
pub(crate) fn read(load: &mut Loading, fields: &Fields<'_>) -> Vec<DataFile> {
    let Some(list) = fields.get("data") else { return Vec::new() };
    load.list(list, "`data`").iter().filter_map(|entry| file(load, entry)).collect()
}

fn file(load: &mut Loading, node: &Node) -> Option<DataFile> {
    let fields = Fields::read(load, node, &keys::DATA_FILE);
    let kind = kind(load, &fields);
    // How answers are cached does not change them: these only have to be readable.
    fields.flag(load, "cache");
    fields.integer(load, "size");
    fields.text(load, "strategy");
    if let Some(ttl) = fields.text(load, "ttl") {
        load.duration(ttl, "ttl");
    }
    let source_url = fields.text(load, "source_url").map(|url| url.text.to_owned()).unwrap_or_default();
    let Some(dest_file) = fields.text(load, "dest_file") else {
        let hint = "name the file in the data folder: `dest_file: some_list.txt`".to_owned();
        load.warn(codes::DATA, node.span.clone(), "the data entry has no `dest_file` and is not used", hint);
        return None;
    };
    let leaves = |part: &str| part == "..";
    if dest_file.text.starts_with(['/', '\\']) || dest_file.text.split(['/', '\\']).any(leaves) {
        let message = format!("`{}` leads out of the data folder", dest_file.text);
        let hint = "name a file inside the data folder, e.g. `some_list.txt`".to_owned();
        load.error(codes::DATA, dest_file.span.clone(), message, hint);
        return None;
    }
    Some(DataFile { source_url, dest_file: dest_file.text.into(), kind, place: load.place(&node.span) })
}

fn kind(load: &mut Loading, fields: &Fields<'_>) -> DataKind {
    let Some(text) = fields.text(load, "type") else { return DataKind::Opaque };
    match text.text {
        "string" => DataKind::String,
        "regex" | "regexp" => DataKind::Regexp,
        "map" => DataKind::Map,
        "bots" => DataKind::Bots,
        other => {
            let message = format!("data type `{other}` is unknown: expressions cannot read the file");
            let hint = "known here: string, regexp, map, bots".to_owned();
            load.warn(codes::DATA, text.span.clone(), message, hint);
            DataKind::Opaque
        }
    }
}
