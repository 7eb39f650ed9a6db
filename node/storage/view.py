"""A view of the state at one durable block, for readers of any thread."""

from node.storage.database import Database
from node.storage.records import Layer, Records
from node.storage.shards import Shards


class Snapshot(Records):
    """The state after one durable block, unmoved by later ones. Implements ports.Reader."""

    def __init__(
        self, height: int, layers: tuple[Layer, ...], sources: tuple[Database, ...], shards: Shards
    ) -> None:
        self.height = height
        self.layers = layers
        self.sources = sources
        self._parts = shards.parts
