"""Measures the figures of docs/performance.md: ratios to a floor, and percentiles, from one run on one machine."""
