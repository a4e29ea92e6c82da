"""Face boxes, detection, tracking, landmarks, crop and paste."""
