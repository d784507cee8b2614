"""One study: its file, the folder it writes, and the only way anything is written there."""
