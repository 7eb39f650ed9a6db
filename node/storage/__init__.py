"""Disk: one block log that is the truth, state in shards behind it, and look-ups that can be rebuilt
(architecture.md, section 5).
"""
