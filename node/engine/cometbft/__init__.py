"""The consortium's order: CometBFT, run beside the node and spoken to over sockets of this machine."""
