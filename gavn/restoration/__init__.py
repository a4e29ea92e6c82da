"""From a video file to a restored one: find the face, crop, restore, paste back, keep sound and time."""
