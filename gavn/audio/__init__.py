"""Audio features: MFCC windows around each video frame."""
