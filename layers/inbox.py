"""The inbox: what arrived, raw, before anything parses it, and what became of it.

Bytes are kept first: a message in its row, a file by its SHA-256 below `<home>/inbox`. A batch is one load of one
arrival, and accounts for every record of it: received = accepted + duplicate + quarantined. What could not enter a layer
stands in the quarantine with its reason.
"""
