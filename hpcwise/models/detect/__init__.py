"""Crops of a picture around what a detector finds in it."""
