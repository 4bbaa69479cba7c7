"""The data plane: versions, signatures, lanes, batches. It knows no HTTP and no JSON."""
