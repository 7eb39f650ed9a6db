"""The refusal to work with a library that decides otherwise than this release's protocol says.

It stands alone because every file that calls such a library raises it.
"""


class UnsoundLibrary(Exception):
    """An installed library decides otherwise than this release's protocol says, or is missing; the node must
    not start with it. The text says what to install.
    """
