"""The demonstration: real digits become a served model while clients predict without pause."""
