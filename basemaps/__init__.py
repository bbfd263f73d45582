"""Our own basemap: drawn from the city's own layers, without a request to anyone else."""
