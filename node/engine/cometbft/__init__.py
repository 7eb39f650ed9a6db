"""CometBFT as the engine: several validators decide the order, and no third of their power alone can bend
it.
"""
