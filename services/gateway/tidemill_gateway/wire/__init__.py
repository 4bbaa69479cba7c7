"""TensorFlow Serving's wire format without TensorFlow: messages, method paths, types."""
