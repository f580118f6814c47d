//! The client against the API of this workspace, over each kind of connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use testudo_api::{
    ClientVerification, Config, Listen, Server, Service, Tls, TlsConfig, hash_key, hash_password,
    prepare_label, system_clock,
};
use testudo_decide::{Profiles, default_profiles};
use testudo_event::{Alert, Decision, Source, Timestamp};
use testudo_store::{Bouncer, Location, Machine, Store, StoreOptions};
use testudo_wire::metrics::{LogProcessor, UsageMetrics};
use testudo_wire::watcher::Registration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::settings::TlsFiles;
use crate::{ClientError, Event, Listener, Registered, query};

struct Api {
    service: Arc<Service>,
    address: SocketAddr,
    folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Api {
    fn start() -> Api {
        let folder = tempfile::tempdir().expect("a folder");
        let service = service(folder.path(), Config::default());
        let listen = [Listen::Tcp(([127, 0, 0, 1], 0).into()), Listen::Unix(folder.path().join("api.sock"))];
        let server = Server::bind(Arc::clone(&service), &listen).expect("it listens");
        let address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async { stopped.await.unwrap_or_default() }));
        Api { service, address, folder, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.task.await.expect("it ends");
    }
}

fn service(folder: &Path, config: Config) -> Arc<Service> {
    let clock = system_clock();
    let options = StoreOptions {
        location: Location::Sqlite { path: folder.join("api.db"), wal: true },
        keep_ms: 3_600_000,
        prepare: prepare_label,
    };
    let store = Arc::new(Store::open(options, clock()).expect("it opens"));
    let machine = Machine {
        name: "edge-07".to_owned(),
        password: hash_password("a secret").expect("hashed"),
        auth_type: "password".to_owned(),
        validated: true,
        ..Machine::default()
    };
    store.machines().insert(machine).expect("a machine");
    let bouncer = Bouncer {
        name: "fw".to_owned(),
        key_hash: hash_key("a key"),
        auth_type: "api-key".to_owned(),
        ..Bouncer::default()
    };
    store.bouncers().insert(bouncer).expect("a bouncer");
    Service::new(store, config, Profiles::new(default_profiles()), clock).expect("it starts")
}

fn alert(value: &str) -> Alert {
    let now = Timestamp::from_unix((system_clock())() / 1000, 0);
    Alert {
        kind: "cscli".to_owned(),
        scenario: "manual".to_owned(),
        leakspeed: "0".to_owned(),
        start_at: now,
        stop_at: now,
        source: Source { scope: "Ip".to_owned(), value: value.to_owned(), ..Source::default() },
        decisions: vec![Decision {
            kind: "ban".to_owned(),
            scope: "Ip".to_owned(),
            value: value.to_owned(),
            duration: "4h".to_owned(),
            origin: "cscli".to_owned(),
            scenario: "manual".to_owned(),
            ..Decision::default()
        }],
        ..Alert::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_and_a_bouncer() {
    let api = Api::start();
    let machine = client(api.address, machine());
    let bouncer = client(api.address, Login::Key("a key".to_owned()));
    machine.health().await.expect("it is up");
    machine.set_scenarios(vec!["demo/ssh-bf".to_owned()]).await;
    machine.heartbeat().await.expect("alive");
    let known = api.service.store().machines().get("edge-07").expect("it is known");
    assert_eq!(known.scenarios, "demo/ssh-bf");
    assert!(known.last_heartbeat_ms.is_some());
    assert_eq!(bouncer.stream(true, "").await.expect("a stream").new, []);
    let ids = machine.post_alerts(&[alert("192.0.2.77"), alert("2001:db8::7")]).await.expect("stored");
    assert_eq!(ids, ["1", "2"]);
    let news = bouncer.stream(false, "scopes=ip").await.expect("a stream");
    assert_eq!(
        news.new.iter().map(|new| new.value.as_str()).collect::<Vec<_>>(),
        ["192.0.2.77", "2001:db8::7"]
    );
    let asked = query([("ip", "2001:db8::7"), ("scope", "")]);
    assert_eq!(asked, "ip=2001%3Adb8%3A%3A7");
    assert_eq!(bouncer.decisions(&asked).await.expect("decisions").len(), 1);
    assert_eq!(machine.alerts("limit=1").await.expect("alerts").len(), 1);
    assert_eq!(machine.alert(1).await.expect("an alert").source.value, "192.0.2.77");
    assert_eq!(machine.alert(99).await.expect_err("none").status(), Some(404));
    assert_eq!(machine.delete_decisions("ip=192.0.2.77").await.expect("ended"), 1);
    assert_eq!(machine.delete_decision(2).await.expect("ended"), 1);
    assert_eq!(machine.delete_alert(1).await.expect("deleted"), 1);
    assert_eq!(machine.delete_alerts("").await.expect("deleted"), 1);
    assert_eq!(machine.alerts("").await.expect("alerts"), []);
    let processor = LogProcessor {
        datasources: Some([("file".to_owned(), 1)].into()),
        hub_items: Some([].into()),
        utc_startup_timestamp: Some(1),
        version: Some("v1".to_owned()),
        ..LogProcessor::default()
    };
    let report = UsageMetrics { log_processors: vec![processor], ..UsageMetrics::default() };
    machine.usage_metrics(&report).await.expect("stored");
    assert_eq!(api.service.store().metrics(false).expect("reports").len(), 1);
    machine.unregister().await.expect("gone");
    assert!(matches!(machine.heartbeat().await, Err(ClientError::Refused { status: 401, .. })));
    api.stop().await;
}

/// The next event that is more than a sign of life.
async fn told(listener: &mut Listener) -> Event {
    loop {
        match listener.next().await.expect("it listens") {
            Some(Event::Alive) => {}
            other => return other.expect("it goes on"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listening() {
    let api = Api::start();
    let machine = client(api.address, machine());
    let bouncer = client(api.address, Login::Key("a key".to_owned()));
    let mut listener = bouncer.listen("scopes=ip", None).await.expect("it listens");
    assert_eq!(told(&mut listener).await, Event::Position);
    machine.post_alerts(&[alert("192.0.2.1")]).await.expect("it is stored");
    let Event::Changed(changed) = told(&mut listener).await else { panic!("no change") };
    assert_eq!(changed.new.iter().map(|new| new.value.as_str()).collect::<Vec<_>>(), ["192.0.2.1"]);
    let cursor = listener.cursor().map(str::to_owned);
    drop(listener);
    // What happens in a break is told after it.
    machine.post_alerts(&[alert("192.0.2.2")]).await.expect("it is stored");
    let mut listener = bouncer.listen("scopes=ip", cursor.as_deref()).await.expect("it listens");
    let mut values = Vec::new();
    while values.is_empty() {
        if let Event::Changed(changed) = told(&mut listener).await {
            values.extend(changed.new.into_iter().map(|new| new.value));
        }
    }
    assert_eq!(values, ["192.0.2.2"]);
    let stranger = client(api.address, Login::Key("another key".to_owned()));
    assert_eq!(stranger.listen("", None).await.expect_err("a stranger").status(), Some(403));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_socket() {
    let api = Api::start();
    let path = api.folder.path().join("api.sock").display().to_string();
    let nobody = Client::new(Settings::new(path.as_str(), Login::Nobody)).expect("a client");
    let registration = Registration {
        machine_id: Some("tool".to_owned()),
        password: Some("word".to_owned()),
        registration_token: None,
    };
    assert_eq!(nobody.register(&registration).await.expect("registered"), Registered::Pending);
    let again = nobody.register(&registration).await.expect_err("the name is taken");
    assert_eq!(
        (again.status(), again.to_string().as_str()),
        (Some(403), "API error: user 'tool': user already exist")
    );
    let login = Login::Password { machine: "tool".to_owned(), password: "word".to_owned() };
    let tool = Client::new(Settings::new(path, login)).expect("a client");
    let error = tool.login().await.expect_err("not validated");
    assert_eq!(error.to_string(), "API error: machine tool not validated");
    api.service.store().machines().update("tool", |machine| machine.validated = true).expect("changed");
    tool.login().await.expect("validated");
    assert_eq!(tool.allowlists(true).await.expect("lists"), []);
    assert!(!tool.check_allowlists("192.0.2.0/24").await.expect("checked").allowlisted);
    assert_eq!(tool.check_many_allowlists(&["192.0.2.1".to_owned()]).await.expect("checked"), []);
    assert!(tool.allowlist("no/such").await.is_err());
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_reports_arrive_whole() {
    let api = Api::start();
    let machine = client(api.address, machine());
    let mut large = alert("192.0.2.77");
    let mut decision = large.decisions[0].clone();
    for number in 0..5000_u32 {
        decision.value = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
        large.decisions.push(decision.clone());
    }
    machine.post_alerts(&[large]).await.expect("stored");
    let bouncer = client(api.address, Login::Key("a key".to_owned()));
    assert_eq!(bouncer.stream(true, "").await.expect("a stream").new.len(), 5001);
    api.stop().await;
}

/// An authority, and what it has signed: file names in its folder.
struct Authority {
    folder: tempfile::TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        std::fs::write(folder.path().join("ca.pem"), pem).expect("written");
        Authority { folder, issuer: rcgen::Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, unit: &str) {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, unit);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        std::fs::write(self.path(&format!("{name}.pem")), certificate).expect("written");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
    }

    fn files(&self, name: &str) -> TlsFiles {
        TlsFiles {
            ca: Some(self.path("ca.pem")),
            certificate: Some(self.path(&format!("{name}.pem"))),
            key: Some(self.path(&format!("{name}.key"))),
            insecure_skip_verify: false,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates() {
    let authority = Authority::new();
    for (name, unit) in [("api", "servers"), ("agent", "agents"), ("fw", "bouncers"), ("stranger", "others")]
    {
        authority.issue(name, unit);
    }
    let tls = Tls::new(TlsConfig {
        cert_file: authority.path("api.pem"),
        key_file: authority.path("api.key"),
        client_verification: ClientVerification::default(),
        ca_cert_path: Some(authority.path("ca.pem")),
        crl_path: None,
        cache_expiration: None,
    })
    .expect("TLS");
    let config = Config {
        agents_allowed_ou: vec!["agents".to_owned()],
        bouncers_allowed_ou: vec!["bouncers".to_owned()],
        ..Config::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let service = service(folder.path(), config);
    let listen = [Listen::Tcp(([127, 0, 0, 1], 0).into())];
    let server = Server::bind(Arc::clone(&service), &listen).expect("it listens").with_tls(tls);
    let url = format!("https://localhost:{}/", server.addresses()[0].port());
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async { stopped.await.unwrap_or_default() }));
    let with = |name: &str| {
        let tls = authority.files(name);
        let retries = Retries::none();
        Client::new(Settings { tls, retries, ..Settings::new(url.as_str(), Login::Certificate) })
            .expect("a client")
    };
    let agent = with("agent");
    agent.heartbeat().await.expect("it is let in");
    assert_eq!(agent.post_alerts(&[alert("192.0.2.77")]).await.expect("stored"), ["1"]);
    assert_eq!(with("fw").stream(true, "").await.expect("a stream").new.len(), 1);
    for error in [
        with("fw").heartbeat().await.expect_err("it is no agent"),
        with("stranger").stream(true, "").await.map(drop).expect_err("it is no bouncer"),
    ] {
        assert!(matches!(error, ClientError::Refused { .. }), "{error}");
    }
    drop(agent);
    stop.send(()).expect("it runs");
    task.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).expect("written");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(&answer("200 OK", "null")).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    let with = |url: String, tls: TlsFiles| {
        Client::new(Settings { tls, ..Settings::new(url, Login::Key("a key".to_owned())) }).expect("a client")
    };
    let localhost = format!("https://localhost:{port}/");
    let trusting = TlsFiles { ca: Some(ca), ..TlsFiles::default() };
    with(localhost.clone(), trusting.clone()).health().await.expect("its authority is trusted");
    let error = with(localhost.clone(), TlsFiles::default()).health().await.expect_err("nobody knows it");
    assert!(error.to_string().contains("certificate"), "{error}");
    let other_name = format!("https://127.0.0.1:{port}/");
    assert!(with(other_name.clone(), trusting).health().await.is_err());
    let anyone = TlsFiles { insecure_skip_verify: true, ..TlsFiles::default() };
    with(other_name, anyone).health().await.expect("any certificate will do");
}
