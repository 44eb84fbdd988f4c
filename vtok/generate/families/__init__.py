"""What a user loads: one file a family of generators."""
