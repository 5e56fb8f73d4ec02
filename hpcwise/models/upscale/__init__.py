"""Larger pictures: Real-ESRGAN's two networks in torch."""
