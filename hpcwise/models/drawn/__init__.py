"""Drawn scenes: hosts with moving lips and hands, sets, figures and captions, on CPU and without weights."""
