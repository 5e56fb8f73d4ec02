"""Models that diffusers covers: one adapter for all of them, a card in configs/models/ for each."""
