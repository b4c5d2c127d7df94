"""Benchmark: measures skiff and etcd in one run on one machine."""
