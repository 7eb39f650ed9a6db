"""Vostro: the ledger that banks run together.

Start reading in app.py, which names all parts, or in ledger/ledger.py for the rules.
"""
