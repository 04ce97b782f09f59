"""One task for each trained network, its data, and the run that trains and exports it."""
