"""Files in and out: ISO 20022, SWIFT MT and CSV, read into one closed set of records and written from it.

What always holds: nothing here knows the ledger, the network or a clock; a file is refused whole, with line
and reason, before anything of it is handed on.
"""
