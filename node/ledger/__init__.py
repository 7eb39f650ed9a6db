"""The state machine: pure, synchronous and deterministic. It knows no disk, clock, network or thread; see
ports.py for what it asks of others.
"""
