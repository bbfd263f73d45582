"""Transports: how messages reach the twin, one a module."""
