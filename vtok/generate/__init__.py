"""Generators over token strings."""
