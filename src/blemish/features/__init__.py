"""Features of frozen backbones, remembered: in memory, on disk, and as feeds of training."""
