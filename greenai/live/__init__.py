"""What runs beside the training: marks, the sampler and the tracker."""
