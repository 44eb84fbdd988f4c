"""Measures of a set of pictures against another, by their features."""
