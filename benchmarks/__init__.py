"""Benchmarks: run with ``python -m benchmarks.NAME`` from a checkout."""
