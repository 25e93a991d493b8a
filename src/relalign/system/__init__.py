"""Files, processes, memory, time: helpers that know nothing of retrieval or of learning."""
