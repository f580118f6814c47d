//! The client of a local API, ours or another: logging in, heartbeats, alerts, questions.
