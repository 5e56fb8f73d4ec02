"""Tests of hpcwise.media; a package so that they can share `making`."""
