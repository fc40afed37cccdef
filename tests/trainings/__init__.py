"""Short real trainings, one a framework, that the same laws are asked of."""
