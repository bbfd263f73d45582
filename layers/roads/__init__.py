"""Roads: the network of a View, travel times on it, and what changes them: closures, speeds, incidents."""
