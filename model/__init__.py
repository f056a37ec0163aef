"""What sees, speaks and remembers: decode policy, backbones, the captioner, decoding, the bundle."""
