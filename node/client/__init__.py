"""The Python SDK: connect, sign, submit, wait, follow."""
