"""Command line `segqa`."""
