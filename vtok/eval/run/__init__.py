"""A whole evaluation: pictures through a model in chunks that are kept on the disk, and one record of figures from all of them."""
