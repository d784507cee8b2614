"""Image-to-HE: one network that segments the hematoma and predicts its expansion."""
