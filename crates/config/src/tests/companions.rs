//! The files beside `config.yaml`.

use super::*;

#[test]
fn credentials() {
    let load = |text: &str| {
        let folder = Folder::new(&[("c.yaml", text)]);
        let loaded = Credentials::load(&folder.path("c.yaml"), &variables);
        loaded.map_err(|error| folder.told(&error))
    };
    let found = load("url: http://$NAME:8080\nlogin: me\npassword: pa$$word").expect("they load");
    assert_eq!(found.url, "http://db.example:8080/");
    assert_eq!(found.password.expose(), "pa$$word");
    assert!(!format!("{found:?}").contains("word\""), "the password stays out of logs");
    let found = load("url: /run/x.sock\nlogin: me\npassword: x").expect("they load");
    assert_eq!((found.url.as_str(), found.is_socket()), ("/run/x.sock", true));
    let none = "no credentials or URL found in api client configuration 'c.yaml'";
    assert_eq!(load("").expect_err("nothing"), none);
    assert_eq!(load("url: http://x").expect_err("no login"), none);
    assert_eq!(load("login: x\npassword: y").expect_err("no url"), none);
    assert_eq!(
        load("url: http://x\nlogin: x\npassword: y\ncert_path: /c\nkey_path: /k").expect_err("both"),
        "user/password authentication and TLS authentication are mutually exclusive ('c.yaml')"
    );
    assert_eq!(
        load("url: /x\nlogin: x\npassword: y\nca_cert_path: /c").expect_err("TLS on a socket"),
        "cannot use TLS with a unix socket ('c.yaml')"
    );
    assert_eq!(
        load("url: http://x\nlogin: x\npassword: y\npasswort: z").expect_err("a key too many"),
        "c.yaml:4:1: unknown key `passwort` (did you mean `password`?)"
    );
}

#[test]
fn what_is_written_is_read_again() {
    let folder = Folder::new(&[]);
    let path = folder.path("c.yaml");
    let mut credentials = Credentials { url: "http://x/".to_owned(), ..Credentials::default() };
    credentials.login = "a: b".to_owned();
    credentials.password = crate::Secret::new("$x'\"#: \n");
    credentials.save(&path).expect("written");
    assert_eq!(Credentials::load(&path, &variables).expect("read"), credentials);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let path = folder.path("simulation.yaml");
    assert!(!load_simulation(&path, &variables).expect("missing").simulation);
    let exclusions = ["a/b".to_owned(), "c".to_owned()].into();
    let simulation = testudo_rules::plan::Simulation { simulation: true, exclusions };
    save_simulation(&path, &simulation).expect("written");
    let found = load_simulation(&path, &variables).expect("read");
    assert_eq!((found.simulation, found.exclusions), (true, simulation.exclusions));
    fs::write(folder.path("simulation.yaml.local"), "simulation: false").expect("written");
    assert!(!load_simulation(&path, &variables).expect("read").simulation);
    let path = folder.path("console.yaml");
    let mut console = Console::load(&path, &variables).expect("missing");
    assert!(console.share_custom && !console.share_context);
    console.share_context = true;
    console.save(&path).expect("written");
    assert_eq!(Console::load(&path, &variables).expect("read"), console);
}

#[test]
fn features() {
    let folder = Folder::new(&[("f.yaml", "- pprof_block_profile\n- papi_client\n- warp\n")]);
    let environment = |name: &str| match name {
        "CROWDSEC_FEATURE_DISABLE_HTTP_RETRY_BACKOFF" => Some("true".to_owned()),
        "CROWDSEC_FEATURE_PPROF_BLOCK_PROFILE" => Some("maybe".to_owned()),
        _ => None,
    };
    let features = Features::load(&folder.path("f.yaml"), &environment).expect("read");
    assert_eq!(features.enabled, ["disable_http_retry_backoff"]);
    assert_eq!(features.warnings.len(), 3, "{:?}", features.warnings);
    let features = Features::load(&folder.path("none.yaml"), &|_| None).expect("missing");
    assert_eq!(features, Features::default());
}
