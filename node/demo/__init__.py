"""The demonstration: a consortium of fifteen banks plays a payment day on a real node, which is killed
half-way.
"""
