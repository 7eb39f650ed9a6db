"""The gRPC face: protobuf in, the ledger's words inside, protobuf out. One servicer a file, and no business
rule in any of them.
"""
