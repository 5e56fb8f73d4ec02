"""Faces that speak: Wan with attention to sound (FantasyTalking's way), driven by the film's own speech."""
