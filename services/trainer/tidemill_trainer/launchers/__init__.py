"""Where a round trains: in process, in a process of its own, over several, or as a job of a cluster."""
