"""JPEG and its successors, measured as models are."""
