"""Scenario contracts: one file each. They may use the base contracts, never one another."""
