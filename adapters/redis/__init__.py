"""Stores in Redis, shared by any number of replicas: one server, one behind Sentinel, or a cluster."""
