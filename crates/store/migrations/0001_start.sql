-- Types in braces are spelled by each engine: {int}, {real}, {text}, {key} (a text that an index can hold)
-- and {blob}. Times are milliseconds since 1970 (`_ms`) or nanoseconds (`_ns`), truth values are 0 and 1.
-- An identity is 16 bytes; `low` and `high` are the first and last address of a network, 17 bytes each.

-- Counters: the last commit, the last numbers given. Its row `commit` is locked by every writer, so that
-- commits have an order.
CREATE TABLE state (
    name {key} NOT NULL PRIMARY KEY,
    number {int} NOT NULL
);
INSERT INTO state (name, number) VALUES ('commit', 0), ('alert', 0), ('decision', 0), ('floor', 0), ('clients', 0);

CREATE TABLE alerts (
    id {int} NOT NULL PRIMARY KEY,
    uuid {key} NOT NULL,
    machine {int},
    created_ms {int} NOT NULL,
    started_ns {int} NOT NULL,
    stopped_ns {int} NOT NULL,
    kind {text} NOT NULL,
    scenario {text} NOT NULL,
    scenario_version {text} NOT NULL,
    scenario_hash {text} NOT NULL,
    message {text} NOT NULL,
    leakspeed {text} NOT NULL,
    capacity {int} NOT NULL,
    events_count {int} NOT NULL,
    simulated {int} NOT NULL,
    remediation {int} NOT NULL,
    scope {text} NOT NULL,
    value {text} NOT NULL,
    ip {text} NOT NULL,
    network {text} NOT NULL,
    as_number {text} NOT NULL,
    as_name {text} NOT NULL,
    country {text} NOT NULL,
    latitude {real} NOT NULL,
    longitude {real} NOT NULL,
    low {blob},
    high {blob},
    events {text} NOT NULL,
    meta {text} NOT NULL
);
CREATE INDEX alerts_uuid ON alerts (uuid);
CREATE INDEX alerts_created ON alerts (created_ms);
CREATE INDEX alerts_machine ON alerts (machine);

-- A row is never changed but for its end before its time, and for losing its alert.
CREATE TABLE decisions (
    id {int} NOT NULL PRIMARY KEY,
    alert {int},
    uuid {blob},
    scope {text} NOT NULL,
    value {text} NOT NULL,
    kind {text} NOT NULL,
    origin {text} NOT NULL,
    scenario {text} NOT NULL,
    simulated {int} NOT NULL,
    low {blob},
    high {blob},
    until_ms {int} NOT NULL,
    created_ms {int} NOT NULL,
    born {int} NOT NULL,
    gone {int},
    gone_ms {int}
);
CREATE INDEX decisions_alert ON decisions (alert);
CREATE INDEX decisions_until ON decisions (until_ms);
CREATE INDEX decisions_gone ON decisions (gone);

CREATE TABLE machines (
    id {int} NOT NULL PRIMARY KEY,
    name {key} NOT NULL UNIQUE,
    password {text} NOT NULL,
    auth_type {text} NOT NULL,
    validated {int} NOT NULL,
    ip {text} NOT NULL,
    version {text} NOT NULL,
    os_name {text} NOT NULL,
    os_family {text} NOT NULL,
    os_version {text} NOT NULL,
    feature_flags {text} NOT NULL,
    scenarios {text} NOT NULL,
    hub_state {text} NOT NULL,
    datasources {text} NOT NULL,
    created_ms {int} NOT NULL,
    updated_ms {int} NOT NULL,
    last_push_ms {int},
    last_heartbeat_ms {int}
);

CREATE TABLE bouncers (
    id {int} NOT NULL PRIMARY KEY,
    name {key} NOT NULL UNIQUE,
    key_hash {text} NOT NULL,
    auth_type {text} NOT NULL,
    auto_created {int} NOT NULL,
    ip {text} NOT NULL,
    kind {text} NOT NULL,
    version {text} NOT NULL,
    os_name {text} NOT NULL,
    os_family {text} NOT NULL,
    os_version {text} NOT NULL,
    feature_flags {text} NOT NULL,
    created_ms {int} NOT NULL,
    updated_ms {int} NOT NULL,
    last_pull_ms {int},
    stream_commit {int},
    stream_ms {int}
);

CREATE TABLE allowlists (
    id {int} NOT NULL PRIMARY KEY,
    name {key} NOT NULL UNIQUE,
    description {text} NOT NULL,
    console_id {text} NOT NULL,
    from_console {int} NOT NULL,
    created_ms {int} NOT NULL,
    updated_ms {int} NOT NULL
);

CREATE TABLE allowlist_items (
    id {int} NOT NULL PRIMARY KEY,
    allowlist {int} NOT NULL,
    value {text} NOT NULL,
    description {text} NOT NULL,
    expires_ms {int},
    created_ms {int} NOT NULL
);
CREATE INDEX allowlist_items_list ON allowlist_items (allowlist);

CREATE TABLE config_items (
    name {key} NOT NULL PRIMARY KEY,
    value {text} NOT NULL,
    updated_ms {int} NOT NULL
);

CREATE TABLE metrics (
    id {int} NOT NULL PRIMARY KEY,
    kind {text} NOT NULL,
    sender {text} NOT NULL,
    received_ms {int} NOT NULL,
    pushed_ms {int},
    payload {text} NOT NULL
);
CREATE INDEX metrics_received ON metrics (received_ms);
