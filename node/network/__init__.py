"""Networks of banks: each bank's signed entry, the genesis that all make of them, each bank's home, and a
whole network on one machine.
"""
