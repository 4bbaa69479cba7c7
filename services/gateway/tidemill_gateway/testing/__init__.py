"""Small real parts to try the gateway against, without TensorFlow: for tests, benchmarks and the curious."""
