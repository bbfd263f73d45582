"""The place resolver: how a record becomes a place.

A contract names rungs in order; each rung is one module here. The first rung whose own check a record passes gives
it its place, its accuracy and its method. What no rung places goes to quarantine with the reason.
"""
