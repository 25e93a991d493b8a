"""From the outside world to a checked table of images and captions. No torch enters here."""
