"""The embedded engine: TensorFlow Serving's protocol on the TensorFlow runtime of this process."""
