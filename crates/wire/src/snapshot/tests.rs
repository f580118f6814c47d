//! What is written reads back, and nothing else is read.

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::*;

const AT: i64 = 1_795_294_800_123;

type Row = (Vec<String>, String, i64);

fn kind(texts: &[String]) -> Kind<'_> {
    Kind { scope: &texts[0], kind: &texts[1], origin: &texts[2], scenario: &texts[3] }
}

fn written(rows: &[Row], block: usize) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(7, AT);
    let mut out = Vec::new();
    for (texts, value, end_ms) in rows {
        writer.add(kind(texts), value, *end_ms);
        if writer.pending() == block {
            out.append(&mut writer.block());
        }
    }
    out.append(&mut writer.finish());
    out
}

fn texts(scope: &str) -> Vec<String> {
    [scope, "ban", "lists", "demo"].map(str::to_owned).to_vec()
}

fn read(bytes: Vec<u8>) -> Snapshot {
    Snapshot::read(bytes).expect("a snapshot")
}

/// With its checksum put right.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    bytes.extend_from_slice(body);
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn an_empty_one() {
    let snapshot = read(written(&[], 10));
    assert_eq!((snapshot.seq(), snapshot.at_ms(), snapshot.len()), (7, AT, 0));
    assert_eq!(snapshot.entries().count(), 0);
}

#[test]
fn texts_come_back_as_they_were() {
    let values = [
        "192.0.2.1",
        "192.0.2.1/32",
        "192.0.2.0/24",
        "192.0.2.7/24",
        "192.0.2.0/024",
        "0.0.0.0/0",
        "::/0",
        "::",
        "2001:db8::1",
        "2001:DB8::1",
        "2001:db8::/32",
        "::ffff:192.0.2.1",
        "NL",
        "",
        "a/b",
        "1.2.3.4/33",
    ];
    let rows: Vec<Row> =
        values.iter().map(|&value| (texts("Ip"), value.to_owned(), AT + 3_600_000)).collect();
    let snapshot = read(written(&rows, 100));
    let mut found: Vec<String> = snapshot.entries().map(|entry| entry.value.to_string()).collect();
    let mut expected = values.map(str::to_owned).to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert!(snapshot.entries().all(|entry| entry.end_secs == (AT + 3_600_000) / 1000 + 1));
    assert_eq!(snapshot.entries().next().map(|entry| entry.kind), Some(kind(&texts("Ip"))));
}

#[test]
fn blocks_are_sorted_and_small() {
    // Every 4000th address, in an order that has nothing to do with it, all with the same end.
    let address = |n: u32| std::net::Ipv4Addr::from_bits(n.wrapping_mul(2_654_435_761)).to_string();
    let rows: Vec<Row> = (0..50_000).map(|n| (texts("Ip"), address(n), AT + 86_400_000)).collect();
    let bytes = written(&rows, 32_768);
    let bits = bytes.len() * 80 / rows.len();
    assert!(bits < 270, "{}.{} bytes for each entry", bits / 80, bits % 80);
    let snapshot = read(bytes);
    let values: Vec<String> = snapshot.entries().map(|entry| entry.value.to_string()).collect();
    assert_eq!(values.len(), rows.len());
    let number = |text: &String| text.parse::<std::net::Ipv4Addr>().expect(text).to_bits();
    assert!(values[..32_768].is_sorted_by_key(number) && values[32_768..].is_sorted_by_key(number));
}

#[test]
fn others_are_refused() {
    let check = |bytes: &[u8], expected: SnapshotError| {
        assert_eq!(Snapshot::read(bytes.to_vec()), Err(expected), "{bytes:?}");
    };
    check(b"", SnapshotError::Magic);
    check(b"{\"new\": [], \"deleted\": []}", SnapshotError::Magic);
    check(b"TSTDSNAP", SnapshotError::Checksum);
    check(b"TSTDSNAP\x02rest", SnapshotError::Version(2));
    check(b"TSTDSNAP\x01rest", SnapshotError::Checksum);
    // Counts that promise more than there is, unknown tags, texts that are none, bytes after the end.
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    for body in [
        &[][..],
        &[7],
        &[7, 0],
        &[7, 0, 2],
        &[7, 0, 0, 1],
        &[7, 0, 0, 0, 0],
        &[7, 0, 1, 1, 1, 0xff, 0, 0, 0, 0],
        &[7, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        &[&[7, 0, 1][..], &huge].concat(),
        &[&[7, 0, 1, 0, 0][..], &huge].concat(),
        &[&[7, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1][..], &huge].concat(),
        // More bits than there are, and an address that is none.
        &[7, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 3, 33, 1, 0, 0, 0, 0, 1],
        &[7, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 3, 8, 1, 0x80, 2, 0, 0, 0, 1],
    ] {
        assert!(matches!(Snapshot::read(sealed(body)), Err(SnapshotError::Malformed(_))), "{body:?}");
    }
    let good = [7, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 3, 8, 1, 10, 0, 0, 0, 1];
    let snapshot = read(sealed(&good));
    assert_eq!(snapshot.entries().map(|entry| entry.value.to_string()).collect::<Vec<_>>(), ["10.0.0.0/8"]);
}

fn row() -> impl Strategy<Value = Row> {
    let value = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|addr| addr.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|addr| addr.to_string()),
        (any::<std::net::Ipv4Addr>(), 0_u8..=33).prop_map(|(addr, bits)| format!("{addr}/{bits}")),
        (any::<u8>(), 0_u8..=32).prop_map(|(byte, bits)| format!("{byte}.0.0.0/{bits}")),
        (any::<u16>(), 0_u8..=129).prop_map(|(part, bits)| format!("{part:x}::/{bits}")),
        ".{0,8}",
    ];
    (prop::collection::vec("[ab]{0,2}", 4), value, 0_i64..10_000_000)
        .prop_map(|(texts, value, after)| (texts, value, AT + after))
}

proptest! {
    #[test]
    fn everything_reads_back(rows in prop::collection::vec(row(), 0..60), block in 1_usize..70) {
        let snapshot = read(written(&rows, block));
        let mut found: Vec<(Vec<String>, String, i64)> = snapshot
            .entries()
            .map(|entry| {
                let Kind { scope, kind, origin, scenario } = entry.kind;
                let texts = [scope, kind, origin, scenario].map(str::to_owned).to_vec();
                (texts, entry.value.to_string(), entry.end_secs)
            })
            .collect();
        let mut expected: Vec<_> =
            rows.into_iter().map(|(texts, value, end)| (texts, value, (end + 999) / 1000)).collect();
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn what_is_damaged_is_refused(
        rows in prop::collection::vec(row(), 0..20), at in any::<prop::sample::Index>(), flip in 1_u8..,
    ) {
        let bytes = written(&rows, 8);
        let at = at.index(bytes.len());
        let mut damaged = bytes.clone();
        damaged[at] ^= flip;
        prop_assert!(Snapshot::read(damaged).is_err());
        prop_assert!(Snapshot::read(bytes[..at].to_vec()).is_err());
        prop_assert!(Snapshot::read([&bytes[..], &[flip]].concat()).is_err());
    }

    #[test]
    fn nothing_panics(body in prop::collection::vec(prop_oneof![0_u8..5, any::<u8>()], 0..60)) {
        if let Ok(snapshot) = Snapshot::read(sealed(&body)) {
            prop_assert_eq!(snapshot.entries().count(), snapshot.len());
        }
    }
}
