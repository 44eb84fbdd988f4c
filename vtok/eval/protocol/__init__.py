"""What published evaluations do to pictures before they measure."""
