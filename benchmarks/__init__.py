"""Our steps against the usual libraries, and cost against size: ``python -m benchmarks`` from a checkout."""
