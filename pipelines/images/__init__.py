"""The inner loop of a shard of images: read, decode, batch, and give the model each distinct image once."""
