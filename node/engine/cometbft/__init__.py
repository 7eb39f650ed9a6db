"""Byzantine fault tolerant order: CometBFT in a process of its own, and this node as its ABCI application."""
