"""DICOM series in: which series are there, which are the first head CT and its follow-up, and their NIfTI files."""
