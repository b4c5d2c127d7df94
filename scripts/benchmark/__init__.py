"""Measures skiff and etcd side by side, in one run on one machine."""
