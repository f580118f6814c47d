//! temporary
#[test]
fn t() {
    let shared = std::path::PathBuf::from("/work/shared");
    for _ in 0..3 {
    let a = std::time::Instant::now();
    let hub = testudo_hub::Hub::open(shared.join("hub")).unwrap();
    println!("index {:?}", a.elapsed());
    let a = std::time::Instant::now();
    let mut s = testudo_hub::Selection::default();
    s.whole_hub(&hub);
    let l = s.load();
    println!("load {:?} {}", a.elapsed(), l.files.len());
    let a = std::time::Instant::now();
    let data = testudo_hub::DataFolders::new(&[shared.join("lists"), shared.join("geo/hub")]);
    println!("data {:?}", a.elapsed());
    let now = testudo_event::Timestamp::parse_rfc3339("2026-11-15T12:00:00Z").unwrap();
    let a = std::time::Instant::now();
    let r = testudo_hub::testing::run_tests(&hub, None, &data, now, testudo_hub::testing::Way::Watched).unwrap();
    let sum: f64 = r.iter().map(|r| r.milliseconds).sum();
    println!("tests {:?} sum {sum}", a.elapsed());
    let mut r: Vec<_> = r.iter().map(|r| (r.milliseconds as u64, r.assertions, &r.name)).collect();
    r.sort(); r.reverse();
    println!("{:?}", &r[..8]);
    }
}
