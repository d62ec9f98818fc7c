"""What clients speak: the Open Inference Protocol and MLflow's `/invocations`, to and from payloads. Pure."""
