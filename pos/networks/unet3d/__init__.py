"""The UNet of ModelScope and of VideoCrafter 1 and 2."""
