"""Keys: deciding signatures, making them, and keeping the secrets that make them. Implements
``node.ledger.ports.Verifier``.
"""
