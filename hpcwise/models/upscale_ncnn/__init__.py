"""Larger pictures on CPU: Real-ESRGAN's small network for video through ncnn."""
