"""Wire formats: each module reads one of them into Records, and knows nothing of where the bytes came from."""
