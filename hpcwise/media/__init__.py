"""What is watched: finished segments become a live HLS playlist, a film, captions and a poster."""
