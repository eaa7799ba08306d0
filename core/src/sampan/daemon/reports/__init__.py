"""What is told of containers and of the engine, and changes nothing."""
