"""Measures of a picture against its original."""
