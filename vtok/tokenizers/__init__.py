"""What a user loads: one file a family; `spec` and `base` hold the contracts, `registry` the families."""
