"""What a training will cost, before it runs: tables, priors and published runs joined."""
