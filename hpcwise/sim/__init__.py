"""The simulator: the engine of the head, with commands that become future events by the profiles."""
