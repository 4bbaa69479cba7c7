"""What is watched beside training: tests, drift, labels in doubt, likenesses across the test line."""
