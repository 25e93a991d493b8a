"""From features to a trained model: the one loop of all methods, its data and its checkpoints."""
