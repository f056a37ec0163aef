"""Names of the captioners, for those who only want to name one: building one loads TensorFlow."""

LSTM, LSTM_ATTENTION, BASIC, TRANSFORMER = "lstm", "lstm-attention", "transformer-basic", "transformer"
DECODERS = (LSTM, LSTM_ATTENTION, BASIC, TRANSFORMER)
"""The captioners of the project's source slides in the order of the story, and ours last."""
