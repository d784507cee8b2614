"""Image-to-HE: one network that outlines the hematoma and foresees its growth."""
