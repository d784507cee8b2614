// Opened as files, pages cannot read each other: the search then lists its findings without excerpts.
"use strict";

if (window.location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
