"""Video restoration: find faces, crop, restore, paste back; audio and time stamps are kept."""
