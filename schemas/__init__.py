"""What crosses a boundary: names, types and shapes. No Keras, no Beam, no TensorFlow."""
