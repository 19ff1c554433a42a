"""What is claimed of this package's speed, and the command that measures it; see ``docs/benchmarks.md``."""
