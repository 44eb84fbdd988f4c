"""What steps work on: pictures, crops in an order of the seed, batches, caches of latents."""
