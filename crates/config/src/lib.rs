//! Configuration files: strict YAML with places for every complaint, the environment, `.local` companions;
//! `config.yaml` and the files that it names.
