"""What generators are trained to lessen, where that is more than the cross entropy of the next token."""
