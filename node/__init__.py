"""Vostro: the ledger that banks run together. Start reading in node/app.py, or in node/ledger/ledger.py for the rules."""
