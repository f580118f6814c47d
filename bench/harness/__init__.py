"""What `bench/run` is made of; bench/README.md says what it measures."""
