"""What `make run` starts: every process of the product on one machine, kept alive and stopped together."""
