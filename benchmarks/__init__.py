"""Benchmarks: they print, they never assert. ``python -m benchmarks`` runs them all."""
