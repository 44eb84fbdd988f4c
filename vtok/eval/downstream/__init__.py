"""What tokens and reconstructions are good for."""
