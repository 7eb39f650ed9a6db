"""The ``vostro`` command: one file a noun, assembled in main.py. No business rule lives here: it signs,
asks, and shows.
"""
