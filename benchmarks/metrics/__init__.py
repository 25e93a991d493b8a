"""Metrics beside their peers: `python -m benchmarks.metrics` prints speed, memory and agreement.

Every row is measured in a process of its own with the same number of threads; peers that are not installed are
left out (`requirements/benchmarks.in` lists them).
"""
