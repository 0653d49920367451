"""Settlements that wait for the ledger."""
