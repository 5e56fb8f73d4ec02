"""FramePack on HunyuanVideo, section by section in the order in which they are shown."""
