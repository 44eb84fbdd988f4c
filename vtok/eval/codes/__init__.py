"""How ids are used."""
