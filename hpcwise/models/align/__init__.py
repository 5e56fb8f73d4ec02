"""When each sound of a text is heard in a recording: forced alignment, for voices that do not say it."""
