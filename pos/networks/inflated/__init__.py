"""Image UNets inflated to videos: SCVideo, Tune-A-Video, VideoCrafter v0.9."""
