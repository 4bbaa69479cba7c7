"""Rounds: trains on what is new, publishes only what beats the champion."""
