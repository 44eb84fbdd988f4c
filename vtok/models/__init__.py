"""Networks that know no task."""
