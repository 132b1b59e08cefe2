"""What must be remembered between a callback and its answer: claims, reply windows, unfinished callbacks."""
