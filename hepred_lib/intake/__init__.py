"""A hospital's data in: DICOM series and spreadsheets to scans and a manifest, and the check of what came in."""
