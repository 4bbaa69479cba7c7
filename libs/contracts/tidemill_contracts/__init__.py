"""What Tidemill's services agree on: events, ports, errors and stored formats."""
