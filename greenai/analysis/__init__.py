"""Pure functions from readings and marks to energies, footprints and comparisons."""
