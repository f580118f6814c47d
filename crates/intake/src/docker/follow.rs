//! Finds the containers to read, and follows each of them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use testudo_event::Timestamp;
use tokio::task::JoinSet;

use super::{
    Bound, DockerConfig, Selection,
    api::{Api, Event, Info, Inspected, Listed, Service, escape},
    frame::Decoder,
    select::Choice,
};
use crate::{
    batch::{Collector, Labels, MAX_LINE_BYTES, Stream},
    file::Cutter,
    outlet::{self, Outlet, Stopped},
    position::{Change, Position},
    source::{Mode, Run, Settings, Source, SourceError},
};

/// First pause before a stream that broke is opened again.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// Longest one.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// How often the lists are looked at although nothing was told.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Longest event.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// A *docker* source.
#[derive(Debug)]
pub struct DockerSource {
    settings: Settings,
    config: DockerConfig,
}

/// Something whose log is read.
#[derive(Clone, Debug)]
struct Target {
    kind: What,
    id: String,
    name: String,
    labels: Labels,
    tty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Container,
    Service,
}

impl What {
    fn path(self) -> &'static str {
        match self {
            What::Container => "containers",
            What::Service => "services",
        }
    }
}

/// The end of a stream.
enum Ended {
    /// There is nothing more to come.
    Over,
    /// It broke off.
    Broken,
}

impl DockerSource {
    /// A source of what `config` says.
    pub fn new(settings: Settings, config: DockerConfig) -> Self {
        DockerSource { settings, config }
    }

    async fn read(self: &Arc<Self>, outlet: &Outlet) -> Result<(), SourceError> {
        let api = Api::new(&self.config.host)?;
        if self.settings.mode == Mode::Cat {
            return self.read_once(&api, outlet).await;
        }
        // What is not known on the first look is older than this source; after that, it is new.
        let key: Arc<str> = format!("watch:{}:docker", self.settings.scope).into();
        let mut first = outlet.positions_of(&key).is_empty();
        let followed: Arc<Mutex<HashSet<String>>> = Arc::default();
        let mut unlabelled: HashSet<String> = HashSet::new();
        let mut tasks = JoinSet::new();
        let mut events = Events::open(&api, &self.config).await?;
        loop {
            for target in self.targets(&api, outlet, &mut unlabelled).await? {
                let is_new =
                    followed.lock().unwrap_or_else(PoisonError::into_inner).insert(target.id.clone());
                if is_new {
                    let follower = Follower {
                        source: Arc::clone(self),
                        api: api.clone(),
                        outlet: outlet.clone(),
                        target,
                        from_start: !first,
                    };
                    let followed = Arc::clone(&followed);
                    tasks.spawn(async move {
                        let id = follower.target.id.clone();
                        let _: Result<(), Stopped> = follower.follow().await;
                        followed.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                    });
                }
            }
            if first {
                first = false;
                let stream = outlet.stream("docker", Arc::clone(&key), None);
                let batch = Collector::new(stream).finish(outlet::now(), Some(Change::At(Position::Watched)));
                if outlet.send(batch).await.is_err() {
                    return Ok(());
                }
            }
            tokio::select! {
                event = events.next() => event?,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            while tasks.try_join_next().is_some() {}
        }
    }

    async fn read_once(self: &Arc<Self>, api: &Api, outlet: &Outlet) -> Result<(), SourceError> {
        let targets = self.targets(api, outlet, &mut HashSet::new()).await?;
        if targets.is_empty() {
            return Err(SourceError::Missing(format!("no container found named: {}", self.settings.title)));
        }
        for target in targets {
            let follower = Follower {
                source: Arc::clone(self),
                api: api.clone(),
                outlet: outlet.clone(),
                target,
                from_start: true,
            };
            match follower.attach().await {
                Ok(Ok(_)) => {}
                Ok(Err(Stopped)) => return Ok(()),
                Err(error) => outlet.log.warn(error),
            }
        }
        Ok(())
    }

    /// What is there and is selected.
    async fn targets(
        &self,
        api: &Api,
        outlet: &Outlet,
        unlabelled: &mut HashSet<String>,
    ) -> Result<Vec<Target>, SourceError> {
        let mut targets = Vec::new();
        let mut choose =
            |selection: &Selection, kind, id: String, names: &[&str], labels: Option<&HashMap<_, _>>, tty| {
                let name = names.first().copied().unwrap_or(&id).to_owned();
                match selection.choose(&id, names, labels) {
                    Choice::Yes(labels) => targets.push(Target { kind, id, name, labels, tty }),
                    Choice::Unlabelled if unlabelled.insert(id) => {
                        outlet.log.error(format_args!(
                            "{name} asks to be read but has no crowdsec.labels, and is ignored"
                        ));
                    }
                    Choice::Unlabelled | Choice::No => {}
                }
            };
        if !self.config.containers.is_empty() {
            let listed: Vec<Listed> = api.json("/containers/json").await?.unwrap_or_default();
            for container in listed {
                let names: Vec<&str> =
                    container.names.iter().map(|name| name.trim_start_matches('/')).collect();
                let labels = container.labels.as_ref();
                choose(&self.config.containers, What::Container, container.id.clone(), &names, labels, false);
            }
        }
        if !self.config.services.is_empty() {
            // Only a manager of a swarm knows its services.
            let info: Info = api.json("/info").await?.unwrap_or_default();
            let listed: Vec<Service> = if info.swarm.control_available {
                api.json("/services").await?.unwrap_or_default()
            } else {
                Vec::new()
            };
            for service in listed {
                let tty = service.spec.task_template.container_spec.tty;
                let names = [service.spec.name.as_str()];
                let labels = service.spec.labels.as_ref();
                choose(&self.config.services, What::Service, service.id.clone(), &names, labels, tty);
            }
        }
        Ok(targets)
    }
}

impl Source for DockerSource {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn run(self: Arc<Self>, outlet: Outlet) -> Run {
        Box::pin(async move {
            tokio::select! {
                () = outlet.stopped() => Ok(()),
                result = self.read(&outlet) => result,
            }
        })
    }
}

/// What the daemon tells about comings and goings.
struct Events {
    body: Incoming,
    cutter: Cutter,
}

impl Events {
    async fn open(api: &Api, config: &DockerConfig) -> Result<Events, SourceError> {
        let mut kinds = Vec::new();
        if !config.containers.is_empty() {
            kinds.push("container");
        }
        if !config.services.is_empty() {
            kinds.push("service");
        }
        let filters = BTreeMap::from([("type", kinds), ("event", vec!["start", "create"])]);
        let filters = serde_json::to_string(&filters).unwrap_or_default();
        let path = format!("/events?filters={}", escape(&filters));
        let body = api.stream(&path).await?;
        let body = body.ok_or_else(|| SourceError::Missing("the Docker daemon has no events".to_owned()))?;
        Ok(Events { body, cutter: Cutter::new(0, MAX_EVENT_BYTES) })
    }

    /// Waits until something came.
    async fn next(&mut self) -> Result<(), SourceError> {
        loop {
            let broken = |answer: String| SourceError::Answer {
                peer: "the stream of Docker's events".to_owned(),
                answer,
            };
            let frame = self.body.frame().await.ok_or_else(|| broken("its end".to_owned()))?;
            let frame = frame.map_err(|error| broken(error.to_string()))?;
            let Ok(bytes) = frame.into_data() else { continue };
            let mut came = false;
            self.cutter.feed(&bytes, &mut |line, _| {
                came |= serde_json::from_slice::<Event>(line)
                    .is_ok_and(|event| event.kind != "container" || event.action == "start");
            });
            if came {
                return Ok(());
            }
        }
    }
}

/// Follows one container or service.
struct Follower {
    source: Arc<DockerSource>,
    api: Api,
    outlet: Outlet,
    target: Target,
    /// Without a position, everything is read that was written since it started.
    from_start: bool,
}

impl Follower {
    async fn follow(&self) -> Result<(), Stopped> {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self.outlet.positions_of(&self.key());
            match self.attach().await {
                Ok(Err(stopped)) => return Err(stopped),
                Ok(Ok(Ended::Over)) => return Ok(()),
                Ok(Ok(Ended::Broken)) => {}
                Err(error) => self.outlet.log.warn(format_args!("{}: {error}", self.target.name)),
            }
            if self.outlet.positions_of(&self.key()) == before {
                tokio::time::sleep(pause).await;
                pause = pause.mul_f64(2.5).min(LONGEST_PAUSE);
            } else {
                pause = FIRST_PAUSE;
            }
        }
    }

    fn key(&self) -> Arc<str> {
        self.outlet.settings.key(&self.target.id)
    }

    /// Reads the log until it ends.
    async fn attach(&self) -> Result<Result<Ended, Stopped>, SourceError> {
        let target = &self.target;
        let config = &self.source.config;
        let follows = self.outlet.settings.mode == Mode::Tail;
        let mut tty = target.tty;
        let mut started = None;
        if target.kind == What::Container {
            let path = format!("/containers/{}/json", target.id);
            let Some(inspected) = self.api.json::<Inspected>(&path).await? else {
                return Ok(self.forget().await.map(|()| Ended::Over));
            };
            tty = inspected.config.tty;
            started = Timestamp::parse_rfc3339(&inspected.state.started_at).map(Timestamp::unix_nanos);
            if follows && !inspected.state.running {
                return self.drain(tty, started).await;
            }
        }
        let Some(body) = self.open(follows, started).await? else {
            return Ok(self.forget().await.map(|()| Ended::Over));
        };
        let result = self.read(body, tty).await?;
        if result.is_err() || !follows || config.until.is_some() {
            return Ok(result.map(|()| Ended::Over));
        }
        Ok(Ok(Ended::Broken))
    }

    /// A container that has stopped is read to its end once; when it starts again, it is found again.
    async fn drain(&self, tty: bool, started: Option<i64>) -> Result<Result<Ended, Stopped>, SourceError> {
        match self.open(false, started).await? {
            Some(body) => Ok(self.read(body, tty).await?.map(|()| Ended::Over)),
            None => Ok(self.forget().await.map(|()| Ended::Over)),
        }
    }

    async fn open(&self, follows: bool, started: Option<i64>) -> Result<Option<Incoming>, SourceError> {
        let config = &self.source.config;
        let now = outlet::now().unix_nanos();
        let at = |bound: Bound| match bound {
            Bound::At(nanos) => nanos,
            Bound::Ago(nanos) => now.saturating_sub(nanos),
        };
        let since = match (self.position(), config.since) {
            (Some((time, _)), _) => Some(time),
            (None, Some(bound)) => Some(at(bound)),
            (None, None) if self.outlet.settings.mode == Mode::Cat => None,
            (None, None) if self.from_start => started,
            (None, None) => Some(now),
        };
        let mut path = format!(
            "/{}/{}/logs?follow={follows}&stdout={}&stderr={}&timestamps=true",
            self.target.kind.path(),
            self.target.id,
            config.stdout,
            config.stderr
        );
        for (key, time) in [("since", since), ("until", config.until.map(at))] {
            if let Some(nanos) = time {
                let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
                // Writing to a text cannot fail.
                let _ = write!(path, "&{key}={seconds}.{nanos:09}");
            }
        }
        self.api.stream(&path).await
    }

    /// Time of the last line that was handed out, and how many lines had that time.
    fn position(&self) -> Option<(i64, u32)> {
        self.outlet.positions_of(&self.key()).iter().find_map(|position| match position {
            Position::Docker { time, lines } => Some((*time, *lines)),
            _ => None,
        })
    }

    async fn read(&self, mut body: Incoming, tty: bool) -> Result<Result<(), Stopped>, SourceError> {
        let stream = self.stream();
        let mut decoder = Decoder::new(tty, MAX_LINE_BYTES);
        let mut place = Place::new(self.position());
        let counters = self.outlet.counters();
        loop {
            let mut lines = Collector::new(Arc::clone(&stream));
            let now = outlet::now();
            let mut push = |line: super::frame::Line<'_>| {
                if let Some(time) = line.time {
                    counters.set_lag_nanos(now.unix_nanos().saturating_sub(time).max(0));
                }
                let is_utf8 = match place.step(line.time) {
                    Step::Known => return,
                    Step::Timeless => lines.push_marked(line.text, None),
                    Step::New(position) => lines.push_marked(line.text, Some(position)),
                };
                if !is_utf8 {
                    counters.not_utf8.add(1);
                }
            };
            let frame = body.frame().await;
            let over = frame.is_none();
            let (too_long, broken) = match frame {
                None => (decoder.finish(&mut push), None),
                Some(Ok(frame)) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    (decoder.feed(&bytes, &mut push), None)
                }
                // What is not whole comes again.
                Some(Err(error)) => (0, Some(error)),
            };
            counters.too_long.add(too_long);
            if !lines.is_empty() && self.outlet.send(lines.finish(now, None)).await.is_err() {
                return Ok(Err(Stopped));
            }
            if let Some(error) = broken {
                let peer = format!("the log of {}", self.target.name);
                return Err(SourceError::Answer { peer, answer: error.to_string() });
            }
            if over {
                return Ok(Ok(()));
            }
        }
    }

    fn stream(&self) -> Arc<Stream> {
        let mut labels = (*self.outlet.settings.labels).clone();
        labels.extend(self.target.labels.clone());
        self.outlet.stream(&self.target.name, self.key(), Some(Arc::new(labels)))
    }

    async fn forget(&self) -> Result<(), Stopped> {
        if self.position().is_none() {
            return Ok(());
        }
        self.outlet.send(Collector::new(self.stream()).finish(outlet::now(), Some(Change::Forget))).await
    }
}

/// Where reading stands: times are not unique, so that lines of the same time are counted.
struct Place {
    time: i64,
    lines: u32,
    /// Lines with the time of the position that come again.
    again: Option<(i64, u32)>,
}

/// What a line is to a [`Place`].
enum Step {
    /// It was handed out before.
    Known,
    /// It says no time, and is no place to begin again.
    Timeless,
    /// It is new; this is the position after it.
    New(Position),
}

impl Place {
    fn new(position: Option<(i64, u32)>) -> Place {
        let (time, lines) = position.unwrap_or((i64::MIN, 0));
        Place { time, lines, again: position }
    }

    /// A line with its time.
    fn step(&mut self, time: Option<i64>) -> Step {
        let Some(time) = time else { return Step::Timeless };
        if let Some((last, left)) = &mut self.again {
            if time < *last {
                return Step::Known;
            }
            if time == *last && *left > 0 {
                *left -= 1;
                return Step::Known;
            }
            if time > *last {
                self.again = None;
            }
        }
        // Standard output and error may come out of order by a little; the later time counts.
        if time == self.time {
            self.lines += 1;
        } else if time > self.time {
            (self.time, self.lines) = (time, 1);
        }
        Step::New(Position::Docker { time: self.time, lines: self.lines })
    }
}
