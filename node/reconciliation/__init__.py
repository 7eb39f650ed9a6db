"""Matching a bank's statement with the ledger's movements: a pure library. It reads no file but its rules,
calls no node, and answers the same for the same input, always.
"""
