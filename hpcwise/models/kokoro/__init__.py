"""Speech: Kokoro-82M, and the simpler voices that speak where it cannot be had."""
