"""What is told of a round and of a version: the card, its page, the curves."""
