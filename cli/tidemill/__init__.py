"""The `tidemill` command: one machine's platform, and everything a person does with one."""
