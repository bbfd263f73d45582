"""Branches: named what-ifs over main.

`registry` lists them, `edits` changes records in one, `merging` brings one home.
"""
