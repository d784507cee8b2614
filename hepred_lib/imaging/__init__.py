"""What a scan's file holds, and whether what it shows is a head and what a mask outlines is blood."""
