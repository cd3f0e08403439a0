"""Methods that mix modalities or the features of frozen towers."""
