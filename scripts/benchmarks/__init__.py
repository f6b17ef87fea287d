"""The figures of docs/performance.md: each a ratio to a floor, or a percentile, from one run on one machine."""
