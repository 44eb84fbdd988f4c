"""How a token is drawn: choice among logits, guidance, noise of each string's own."""
