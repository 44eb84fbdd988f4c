"""The objectives of tokenizers by name: one file each."""

TABLE = {
    "linear": "vtok.train.objectives.linear:LinearObjective",
    "nested": "vtok.train.objectives.nested:NestedObjective",
}
