"""The ``vostro`` command: one file a noun, listed in nouns.py, assembled in main.py. No business rule lives
here: it signs, asks, and shows.
"""
